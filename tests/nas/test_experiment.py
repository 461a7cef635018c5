"""Experiments: read, resolved, checked, compared."""

from pathlib import Path

import pytest

from nas.experiment import EXPERIMENTS, changes, load_experiment, settle
from search_spaces import InputError
from search_spaces.shipped import shipped_names

GOOD = """
space: digits-gates
data: {source: digits, validation: 360}
train: {epochs: 1, batch_size: 64, lr: 1e-1}
"""


@pytest.mark.parametrize("name", shipped_names(EXPERIMENTS))
def test_every_shipped_experiment_loads_and_has_a_description(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment.config.description
    assert experiment.space.size > experiment.config.search.trials


def test_a_space_is_shipped_inline_or_a_path_beside_the_experiment(tmp_path: Path) -> None:
    inline = "{host: {name: resnet20}, choices: [{at: '*/out', modules: {none: {}, eca: {}}}]}"
    (tmp_path / "mine.yaml").write_text(inline)
    sizes = []
    for space, data in (("digits-gates", "digits"), (inline, "cifar10"), ("mine.yaml", "cifar10")):
        path = tmp_path / "experiment.yaml"
        path.write_text(GOOD.replace("digits-gates", space).replace("digits", data, 1 if data == "cifar10" else 0))
        sizes.append(load_experiment(str(path)).space.size)
    assert sizes[1] == sizes[2] == 2**9
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs", "epoch", r"e\.yaml, line 4: train.epoch: unknown key.*did you mean 'epochs'"),
        ("data: {source: digits, validation: 360}", "", r"e\.yaml.*the key 'data' is missing"),
        ("source: digits", "source: digit", r"line 3: data.source: .*'digits'.*got 'digit'; did you mean 'digits'"),
        ("1e-1", "fast", r"line 4: train.lr: .*number.*got 'fast'"),
        ("batch_size: 64", "batch_size: 64.5", r"line 4: train.batch_size: must be a whole number, got 64\.5"),
        ("digits-gates", "digit-gates", r"line 2: space: unknown space.*did you mean 'digits-gates'"),
        ("digits-gates", "resnet20-gates", r"line 2: space: the host resnet20 has `\w+: \d+`, but digits needs"),
        ("train:", "search: {sampler: nsga4}\ntrain:", r"line 4: search.sampler: unknown sampler 'nsga4'.*auto, nsga2"),
        ("train:", "objectives: [accuracy, flops]\ntrain:", r"line 4: objectives.*unknown objective 'flops'"),
        ("train:", "objectives: [macs, macs]\ntrain:", r"line 4: objectives: names an objective twice"),
        ("train:", "search: {workers: 0}\ntrain:", r"line 4: search.workers.*at least 1"),
        ("train:", "search: {time_limit: 0}\ntrain:", r"line 4: search.time_limit: .*greater than 0"),
        ("train:", "keep: {weights: best}\ntrain:", r"line 4: keep.weights: .*'front'.*'all'.*'none'.*got 'best'"),
        ("lr: 1e-1", "lr: 1e-1, lr: 2", r"line 4: train: duplicate key 'lr'"),
        (
            "train:",
            "confirm: {seeds: 3, max_seeds: 2}\ntrain:",
            r"line 4: confirm.max_seeds.*at least `seeds` \(3\), got 2",
        ),
        ("train:", "confirm: {seeds: 1, max_seeds: 4}\ntrain:", r"line 4: confirm.max_seeds.*at least `seeds: 2`"),
        (
            "train:",
            "confirm: {seeds: 3, budget: 40}\ntrain:",
            r"line 4: confirm.budget.*is for a race; give `max_seeds`",
        ),
    ],
)
def test_a_mistake_is_answered_with_file_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "e.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        load_experiment(str(path))
    assert len(str(caught.value).splitlines()) <= 5


def test_an_unknown_shipped_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown experiment.*'quickstrat'.*did you mean 'quickstart'"):
        load_experiment("quickstrat")


@pytest.mark.parametrize(("confirm", "race"), [("{seeds: 3}", False), ("{seeds: 3, max_seeds: 3}", False),
                                               ("{seeds: 3, max_seeds: 8, budget: 40}", True)])  # fmt: skip
def test_more_seeds_at_most_than_at_least_are_a_race(tmp_path: Path, confirm: str, race: bool) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(f"{GOOD}confirm: {confirm}\n")
    assert load_experiment(str(path)).config.confirm.is_race == race


def test_what_may_change_on_resume_is_no_change() -> None:
    old = {"description": "a", "data": {"dir": "x"}, "search": {"trials": 5, "workers": 1}, "confirm": {"top": 1}}
    new = {"description": "b", "data": {"dir": "y"}, "search": {"trials": 6, "workers": 2}, "confirm": {"top": 2}}
    assert changes(old, new) == []


def test_time_limit_and_what_is_kept_may_change_also_where_a_study_did_not_have_them() -> None:
    record = load_experiment("quickstart").record
    assert (record["search"]["time_limit"], record["keep"]) == (None, {"weights": "front", "checkpoints": "unfinished"})
    new = record | {"search": record["search"] | {"time_limit": 60.0}, "keep": {"weights": "all", "checkpoints": "all"}}
    assert changes(record, new) == changes(new, record) == []
    old = {key: value for key, value in record.items() if key != "keep"}
    old["search"] = {key: value for key, value in record["search"].items() if key != "time_limit"}
    assert changes(old, new) == []


def test_what_may_not_change_on_resume_is_named_with_both_values() -> None:
    old = {"search": {"trials": 5, "seed": 0}, "train": {"lr": 0.1}}
    new = {"search": {"trials": 4, "seed": 0}, "train": {"lr": 0.2}}
    assert changes(old, new) == ["search.trials: 5 -> 4", "train.lr: 0.1 -> 0.2"]


def test_a_study_of_before_a_key_existed_goes_on_with_its_default() -> None:
    record = load_experiment("quickstart").record
    old = record | {"train": {key: value for key, value in record["train"].items() if key not in ("schedule", "ema")}}
    assert changes(old, record) == []
    other = record | {"train": record["train"] | {"schedule": "linear"}}
    assert changes(old, other) == ['train.schedule: "cosine" -> "linear"']


def test_a_setting_of_the_training_without_effect_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "flipped.yaml"
    path.write_text(GOOD.replace("lr: 1e-1", "lr: 1e-1, flip: alternating"))
    with pytest.raises(InputError, match=r"flipped.yaml, line 4: train: `flip: alternating` needs images"):
        load_experiment(str(path))


@pytest.mark.parametrize(
    ("written", "begun_with", "expected"),
    [
        ("", None, "nsga2"),
        ("", "tpe", "tpe"),  # a study of its own
        ("objectives: [accuracy, loss, macs]\n", None, "nsga3"),
        ("objectives: [accuracy, loss, macs]\n", "nsga2", "nsga2"),  # begun before nsga3 was there
        ("search: {sampler: random}\n", "nsga2", "random"),  # refused later, as a change
    ],
)
def test_auto_is_settled_by_the_study_or_else_by_space_and_objectives(
    tmp_path: Path, written: str, begun_with: str | None, expected: str
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(GOOD + written)
    experiment = load_experiment(str(path))
    record = experiment.record
    known = {"experiment": record | {"search": record["search"] | {"sampler": begun_with}}} if begun_with else {}
    settled = settle(experiment, known, deterministic=True)
    assert settled.config.search.sampler == settled.record["search"]["sampler"] == expected
    found = changes(known["experiment"], settled.record) if known else []
    assert found == (['search.sampler: "nsga2" -> "random"'] if "random" in written else [])
