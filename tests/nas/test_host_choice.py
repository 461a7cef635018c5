"""Searches in which the host is a choice: what samplers draw and studies record, baselines, resuming, the report."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_search import GATES, Toy

import nas
from nas.experiment import load_experiment
from nas.proposals.baselines import MOST_EVERYWHERE, make_baselines
from nas.proposals.parameters import SILENT, ByKnob, ByOption, Draw
from nas.proposals.proposer import Proposer
from nas.running.progress import Watcher
from nas.samplers import SAMPLERS, Sampler, make_sampler
from nas.samplers.genes import GenePool
from nas.samplers.variation import Variation
from nas.study.journal import read_storage
from nas.study.ledger_trial import state_of
from nas.view import open_study
from reports import front_rows
from search_spaces import InputError, SearchSpace

Run = Callable[..., tuple[int, str, str]]
MINIMISE = [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
HOST = {"name": ["resnet20", "resnet32"], "classes": 10, "channels": 1, "input": 8}
# Three blocks in each stage of ResNet-20, five in each of ResNet-32.
BRANCH = {"at": "layer1.[2-4]/branch", "modules": GATES}
END = {"at": "*/end", "modules": {"none": {}, "bam": {"reduction": [4, 8]}}}


def make_space(limits: dict[str, object] | None = None) -> SearchSpace:
    """Return 5 * 3**2 + 5**3 * 3**2 architectures; decisions: the host, three branches, two ends."""
    return SearchSpace.from_dict({"host": HOST, "choices": [BRANCH, END], "limits": limits})


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return make_space()


def as_trial(draw: Draw, values: tuple[float, float] | None) -> FrozenTrial:
    """Return the trial that a ledger would hold for a draw, told if it has values."""
    return create_trial(
        state=TrialState.COMPLETE if values else TrialState.RUNNING,
        values=values,
        params=dict(draw.params),
        distributions=dict(draw.distributions),
        user_attrs={"indices": list(draw.indices)},
        system_attrs=dict(draw.system_attrs),
    )


def search(sampler: Sampler, num_trials: int) -> list[FrozenTrial]:
    """Draw one at a time for objectives that are best on ResNet-32 with all decisions at their option 1."""
    trials: list[FrozenTrial] = []
    for seed in range(num_trials):
        sampler.follow(trials)
        draw = sampler.draw(seed)
        assert draw is not None
        distance = float(sum(index != 1 for index in draw.indices))
        trials.append(as_trial(draw, (distance, distance)))
    return trials


DRAWING = [name for name in SAMPLERS if name != "exhaustive"]
LEARNING = ["nsga2", "nsga3", "tpe"]


@pytest.mark.parametrize("name", DRAWING)
def test_only_what_exists_in_the_host_is_recorded_and_each_parameter_has_one_domain(
    space: SearchSpace, name: str
) -> None:
    encoding = ByKnob(space)
    domains: dict[str, object] = {}
    hosts = set()
    for trial in search(make_sampler(name, space, MINIMISE, 8), 40):
        indices = tuple(trial.user_attrs["indices"])
        assert indices == space.normal(indices)
        assert (trial.params, trial.distributions) == encoding.encode(indices)
        hosts.add(trial.params["host"])
        missing = {decision.name for decision in space.decisions} - trial.params.keys()
        deep = {"layer1.3/branch", "layer1.4/branch"}
        assert missing == (deep if trial.params["host"] == "resnet20" else set())
        for parameter, domain in trial.distributions.items():
            assert domains.setdefault(parameter, domain) == domain
    assert hosts == {"resnet20", "resnet32"}


@pytest.mark.parametrize("name", LEARNING)
def test_a_draw_is_the_same_from_a_sampler_that_has_just_read_the_study(space: SearchSpace, name: str) -> None:
    going_on = make_sampler(name, space, MINIMISE, 8)
    trials = search(going_on, 40)
    for seed in (100, 101, 102):
        restarted = make_sampler(name, space, MINIMISE, 8)
        going_on.follow(trials)
        restarted.follow(trials)
        draw = going_on.draw(seed)
        assert draw is not None
        assert draw == restarted.draw(seed)
        trials.append(as_trial(draw, None))


@pytest.mark.parametrize("name", LEARNING)
def test_a_sampler_that_learns_finds_host_and_options(space: SearchSpace, name: str) -> None:
    def mean_of_last(name: str) -> float:
        trials = search(make_sampler(name, space, MINIMISE, 8), 120)
        return float(np.mean([trial.values[0] for trial in trials][-30:]))

    # By chance 4 of 5 and 2 of 3 options are wrong: 3 * 4/5 + 2 * 2/3 = 3.7 of five decisions on ResNet-32.
    assert mean_of_last("random") == pytest.approx(3.9, abs=0.6)
    assert mean_of_last(name) < 2.7


def test_genes_that_do_not_exist_in_a_host_are_handed_on_unchanged(space: SearchSpace) -> None:
    variation, generator = Variation(GenePool(space)), np.random.default_rng(0)
    small = (0, *(1 for _ in space.decisions[1:]))
    silent = [number for number in range(len(small)) if not space.exists(number, small)]
    assert len(silent) == 2
    children = [variation.child(small, small, generator) for _ in range(200)]
    on_small = [child for child in children if child[0] == 0]
    assert 100 < len(on_small) < 200
    assert all(child[number] == small[number] for child in on_small for number in silent)
    heard = [space.normal(child)[number] for child in children if child[0] == 1 for number in silent]
    assert heard.count(1) > len(heard) / 2  # they count again where the host has their sites


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_what_is_silent_is_recorded_and_comes_back(space: SearchSpace, name: str) -> None:
    sampler = make_sampler(name, space, MINIMISE, 4)
    trials: list[FrozenTrial] = []
    on_small = Counter[int]()
    for seed in range(60):
        sampler.follow(trials)
        draw = sampler.draw(seed)
        assert draw
        silent = draw.system_attrs.get(SILENT, {})
        if draw.indices[0] == 0:
            assert set(silent) <= {"layer1.3/branch", "layer1.4/branch"}
            on_small[len(silent)] += 1
        else:
            assert not silent
        trials.append(as_trial(draw, (float(draw.indices[0]), seed % 3)))
    assert on_small[1] + on_small[2] > 0
    genes = [ByOption(space).restore(trial)[0] for trial in trials]
    assert all(set(each) == {decision.name for decision in space.decisions} for each in genes)
    for trial, gene in zip(trials, genes, strict=True):
        assert space.normal(tuple(gene[d.name] for d in space.decisions)) == tuple(trial.user_attrs["indices"])


def test_first_placements_have_every_host_as_often_and_are_sparse_as_often_as_dense(space: SearchSpace) -> None:
    variation, generator = Variation(GenePool(space)), np.random.default_rng(0)
    drawn = [space.normal(variation.first(generator.random(), generator)) for _ in range(900)]
    counts = Counter((indices[0], sum(i != 0 for i in indices[1:])) for indices in drawn)
    # ResNet-20 has three decisions of its own, ResNet-32 five: 450 / 4 and 450 / 6 each, +- 4 standard deviations.
    assert set(counts) == {(0, n) for n in range(4)} | {(1, n) for n in range(6)}
    assert all(112 - 40 < counts[0, n] < 112 + 40 for n in range(4)), counts
    assert all(75 - 33 < counts[1, n] < 75 + 33 for n in range(6)), counts


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_space_is_exhausted_to_its_last_architecture_and_nothing_is_tried_twice(
    toy: Toy, tmp_path: Path, name: str
) -> None:
    gates = {"at": "layer1.[2-4]/branch", "modules": {"none": {}, "eca": {}}}
    ends = {"at": "*/end", "modules": {"none": {}, "bam": {"reduction": 4}}}
    small = SearchSpace.from_dict({"host": HOST, "choices": [gates, ends], "limits": {"sites": 1}})
    legal = {small.at(number) for number in range(small.size) if not small.violation(small.at(number))}
    assert len(legal) == (1 + 1 + 2) + (1 + 3 + 2)
    plan = toy.plan(name, 1000)
    ledger = toy.drive(tmp_path, plan, space=small)
    proposed = [tuple(t.user_attrs["indices"]) for t in ledger.trials("proposal") if state_of(t) != "refused"]
    assert len(proposed) == len(set(proposed))
    # The bare ResNet-20 is a baseline in these searches, and not measured again.
    assert {*proposed, (0, 0, 0, 0, 0, 0)} == legal
    assert Proposer(ledger, small, plan).exhausted


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(
    toy: Toy, tmp_path: Path, space: SearchSpace, name: str
) -> None:
    plan = toy.plan(name, 30, seed=2)
    whole = toy.drive(tmp_path / "whole", plan, space=space)
    ledger = toy.open(tmp_path / "stopped")
    ledger.add(toy.bare_host(), label="host", seed=plan.trial_seed, epochs=plan.epochs)
    for _ in range(4):  # drivers that hand out a few and vanish
        proposer = Proposer(ledger, space, plan)
        for _ in range(3):
            if proposal := proposer.next():
                ledger.record(
                    proposal.number, toy.record(proposal, failed=int(proposal.architecture.hash, 16) % 13 == 0)
                )
                ledger.tell(in_order=True)
        proposer.next()
        ledger = toy.open(tmp_path / "stopped")
        ledger.recover(in_order=True)
    assert toy.story(toy.drive(tmp_path / "stopped", plan, space=space)) == toy.story(whole)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_optuna_tells_how_much_the_host_matters(toy: Toy, tmp_path: Path, space: SearchSpace) -> None:
    toy.drive(tmp_path, toy.plan("random", 40), space=space)
    study = optuna.load_study(study_name="search", storage=read_storage(tmp_path))
    importances = optuna.importance.get_param_importances(study, target=lambda trial: trial.values[0])
    assert "host" in importances


def test_baselines_are_every_bare_host_and_every_module_everywhere_in_each(space: SearchSpace) -> None:
    baselines = make_baselines(space, num_random=2, seed=0)
    assert [label for label, _ in baselines] == [
        *("host (resnet20)", "host (resnet32)"),
        *(f"{module} everywhere (resnet20)" for module in ("se", "eca", "bam")),
        *(f"{module} everywhere (resnet32)" for module in ("se", "eca", "bam")),
        *("random 1", "random 2"),
    ]
    by_label = dict(baselines)
    assert by_label["host (resnet32)"].host.name == "resnet32"
    assert list(by_label["se everywhere (resnet20)"].placement) == ["layer1.2/branch"]
    assert list(by_label["se everywhere (resnet32)"].placement) == [f"layer1.{i}/branch" for i in (2, 3, 4)]


def test_of_many_hosts_the_cheapest_and_the_dearest_have_modules_everywhere() -> None:
    host = {**HOST, "name": ["resnet32", "resnet56", "resnet20"], "width": [0.5, 1.0]}
    space = SearchSpace.from_dict({"host": host, "choices": [BRANCH, END]})
    assert len(space.variants) * 3 > MOST_EVERYWHERE
    labels = [label for label, _ in make_baselines(space, num_random=0, seed=0)]
    assert labels == [
        *(f"host ({part.label})" for part in space.variants),
        *(f"{module} everywhere (resnet56)" for module in ("se", "eca", "bam")),
        *(f"{module} everywhere (resnet20 width=0.5)" for module in ("se", "eca", "bam")),
    ]


EXPERIMENT = """
description: depth of a small network
space:
  host: {name: [resnet20, resnet32], width: [0.5], classes: 10, input: 8, channels: 1}
  choices:
    - {at: "layer3.[2-4]/branch", modules: {none: {}, se: {reduction: [8, 16]}}}
data: {source: digits, validation: 100, training: 200}
train: {epochs: 1, batch_size: 50, lr: 0.1, warmup: 0.5}
objectives: [accuracy, macs]
search: {sampler: nsga2, trials: 2, seed: 3, workers: 1, random_baselines: 0}
confirm: {top: 0, seeds: 2, epochs: 1}
"""
LABELS = ["host (resnet20 width=0.5)", "host (resnet32 width=0.5)"]
LABELS += [f"se everywhere ({name} width=0.5)" for name in ("resnet20", "resnet32")]


@pytest.fixture(scope="module")
def finished_twice(tmp_path_factory: pytest.TempPathFactory) -> nas.Outcome:
    """A real search of two trials that went on to four, and to its confirmation."""
    path = tmp_path_factory.mktemp("host-choice") / "e.yaml"
    for text in (EXPERIMENT, EXPERIMENT.replace("trials: 2", "trials: 4").replace("top: 0", "top: 1")):
        path.write_text(text)
        outcome = nas.search(str(path), path.parent / "study", device="cpu", watcher=Watcher.quiet())
    return outcome


def test_a_search_over_hosts_runs_to_its_end_and_on_from_there(finished_twice: nas.Outcome) -> None:
    view = finished_twice.view
    assert {trial.state for trial in (*view.search, *view.confirm)} == {"complete"}
    assert [trial.label for trial in view.search if trial.label] == LABELS
    assert sum(trial.role == "proposal" for trial in view.search) == 4
    assert len({trial.architecture.id for trial in view.search}) == 4 + len(LABELS)
    hosts = {(trial.architecture.host.name, trial.architecture.host.width) for trial in view.search}
    assert hosts == {("resnet20", 0.5), ("resnet32", 0.5)}
    confirmed = Counter(trial.architecture.id for trial in view.confirm)
    assert len(confirmed) >= len(LABELS)
    assert set(confirmed.values()) == {2}


def test_each_architecture_is_compared_with_its_own_bare_host(finished_twice: nas.Outcome) -> None:
    rows = front_rows(open_study(finished_twice.folder))
    macs = {row.host: row.macs for row in rows if row.is_host}
    assert set(macs) == {"resnet20 width=0.5", "resnet32 width=0.5"}
    for row in rows:
        assert row.host_macs == macs[row.host] <= row.macs
        assert (row.accuracy_difference is None) == row.is_host


def test_status_report_and_export_name_the_host(run: Run, finished_twice: nas.Outcome, tmp_path: Path) -> None:
    folder = finished_twice.folder
    status, text, errors = run("status", folder)
    assert status == 0, errors
    assert all(label in text for label in LABELS)
    assert run("report", folder, "--out", tmp_path / "report")[0] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Attention placements in resnet20 width=0.5, resnet32 width=0.5" in page
    assert "their bare hosts" in page
    with (tmp_path / "report" / "trials.csv").open(newline="") as file:
        hosts = Counter(row["host"] for row in csv.DictReader(file))
    assert set(hosts) == {"resnet20 width=0.5", "resnet32 width=0.5"}
    baseline = next(trial for trial in finished_twice.view.search if trial.label == LABELS[3])
    status, text, errors = run("export", folder, "--pick", baseline.number, "--out", tmp_path / "out")
    assert status == 0, errors
    assert f"exported {baseline.architecture.id}" in text


def test_a_study_over_other_hosts_is_another_experiment(finished_twice: nas.Outcome, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("[0.5]", "[0.5, 1.0]").replace("trials: 2", "trials: 4"))
    with pytest.raises(InputError, match=r"space.host.width: 0.5 -> \[0.5, 1.0\]"):
        nas.search(str(tmp_path / "e.yaml"), finished_twice.folder, device="cpu", watcher=Watcher.quiet())


def test_a_space_over_hosts_is_shown_with_what_each_has(run: Run, tmp_path: Path, space: SearchSpace) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(json.dumps({"host": HOST, "choices": [BRANCH, END], "limits": {"macs": "1.1x host"}}))
    status, text, errors = run("space", path)
    assert status == 0, errors
    assert f"{space.size:,} distinct architectures (6 decisions)" in text
    (line,) = [line for line in text.splitlines() if line.startswith("layer1.4/branch")]
    assert line.split()[1] == "resnet32"
    data = json.loads(run("space", path, "--json")[1])
    assert [(host["label"], host["size"]) for host in data["hosts"]] == [("resnet20", 45), ("resnet32", 1125)]
    assert data["size"] == 45 + 1125
    assert data["decisions"][0]["options"] == ["resnet20", "resnet32"]


def test_images_must_fit_all_hosts(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("input: 8", "input: 16"))
    with pytest.raises(InputError, match="the host resnet20 has `input: 16`, but digits needs `input: 8`"):
        load_experiment(str(tmp_path / "e.yaml"))
