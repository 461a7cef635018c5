"""Several studies: what is set against what, in which box, and what is not."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_studies import BAM, BARE, ECA, SE, confirmed, searched, study, trial

from reports import StudyView, TrialView
from reports.comparison import Group, group_studies, write_comparison
from search_spaces.errors import InputError

LR = {"train": {"lr": 0.1}}


def named(name: str, trials: tuple[TrialView, ...], confirm: tuple[TrialView, ...] = (), **facts: Any) -> StudyView:
    """Return a study with a path of its own; facts go into its experiment."""
    base = study(trials, confirm, name=name, path=f"studies/{name}")
    return replace(base, experiment={**base.experiment, **LR, **facts})


def by_sampler(name: str, seed: int, *accuracies: float) -> StudyView:
    """Return a search of ECA, SE, ... after the host, with these accuracies."""
    trials = [trial(0, BARE, 0.80, label="host")]
    trials += [trial(i, each, a) for i, (each, a) in enumerate(zip((ECA, SE, BAM), accuracies, strict=False), 1)]
    return named(f"{name}-{seed}", tuple(trials), search={"sampler": name, "seed": seed, "trials": 3})


def only(groups: tuple[Group, ...]) -> Group:
    (group,) = groups
    return group


def test_all_searches_are_measured_in_one_box() -> None:
    better, worse = by_sampler("ours", 0, 0.90, 0.85), by_sampler("other", 0, 0.82, 0.83)
    first, second = only(group_studies([better, worse])).studies
    # Accuracies reach from 0.80 to 0.90, MACs from 100 to 120; the corner lies a tenth behind: 0.79 and 122.
    host = (0.80 - 0.79) / 0.11
    assert first.volumes[0] == second.volumes[0] == pytest.approx(host)
    assert first.volumes[1] == pytest.approx(host + 0.10 / 0.11 * 12 / 22)
    assert second.volumes[2] == pytest.approx(host + (0.02 * 12 + 0.01 * 2) / (0.11 * 22))
    assert [first.volume_after(n) for n in (0, 1, 99)] == [0.0, first.volumes[0], first.volumes[-1]]


def test_training_time_counts_what_failed_too() -> None:
    (measured,) = only(group_studies([named("one", searched())])).studies
    assert len(measured.volumes) == len(measured.hours) == 4
    failed_first = [replace(each, number=9 - each.number, finished_at=f"{9 - each.number}") for each in searched()]
    (late,) = only(group_studies([named("one", tuple(failed_first))])).studies
    assert late.hours[0] == pytest.approx(2 * measured.hours[0])


def test_kinds_of_search_are_told_apart_by_their_repetitions_only() -> None:
    ours = [by_sampler("ours", seed, 0.90 + seed / 1000, 0.85) for seed in range(4)]
    other = [by_sampler("other", seed, 0.81 + seed / 1000, 0.82) for seed in range(4)]
    group = only(group_studies([*other, *ours]))
    assert [kind.label for kind in group.kinds] == ["other", "ours"]
    difference = group.kinds[1].difference
    assert difference is not None
    assert (difference.n, difference.verdict) == (4, "better")
    assert difference.mean == pytest.approx(
        sum(a.volumes[-1] - b.volumes[-1] for a, b in zip(group.studies[4:], group.studies[:4], strict=True)) / 4
    )
    once = only(group_studies([other[0], ours[0]])).kinds[1].difference
    assert once is not None
    assert once.verdict == "not distinguishable"


def test_searches_are_compared_after_as_many_trials_as_all_have() -> None:
    group = only(group_studies([by_sampler("ours", 0, 0.9, 0.91, 0.92), by_sampler("other", 0, 0.9)]))
    assert group.common_trials == 2
    assert [kind.volume.mean for kind in group.kinds if kind.volume] == [each.volumes[1] for each in group.studies]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"train": {"lr": 0.2}}, "train.lr: 0.1 against 0.2"),
        ({"train": {"lr": 0.1, "mixup": 0.2}}, "train.mixup: not given against 0.2"),
        ({"data": {"source": "cifar10"}}, "data: digits against cifar10"),
    ],
)
def test_what_was_trained_otherwise_stands_apart_and_the_page_says_why(
    facts: dict[str, Any], said: str, tmp_path: Path
) -> None:
    views = [named("one", searched(), confirmed()), named("two", searched(), confirmed(), **facts)]
    groups = group_studies(views)
    assert [[each.name for each in group.studies] for group in groups] == [["one"], ["two"]]
    assert all(len(group.winners) == 1 and group.winners[0].difference is None for group in groups)
    page = write_comparison(views, tmp_path).read_text()
    assert "Not comparable" in page
    assert f"<li>{said}</li>" in page


def test_other_images_and_other_objectives_stand_apart_and_how_fast_it_is_does_not() -> None:
    one = named("one", searched())
    images = named("two", tuple(replace(t, record=replace(t.record, data_sha256="cd" * 32)) for t in searched()))
    objectives = replace(named("three", searched(("loss", "macs"))), objectives=("loss", "macs"))
    compiled = named("four", searched(), train={"lr": 0.1, "compile": True})
    assert [len(group.studies) for group in group_studies([one, images, objectives, compiled])] == [2, 1, 1]


def test_the_best_of_each_are_paired_by_seed() -> None:
    weaker = tuple(each for each in confirmed() if each.architecture.hash != SE.hash)
    group = only(group_studies([named("eca", searched(), weaker), named("se", searched(), confirmed())]))
    first, second = group.winners
    assert (first.item.architecture, second.item.architecture) == (ECA, SE)
    assert first.difference is None
    assert second.difference is not None
    assert second.difference.mean == pytest.approx(2 * 0.021)
    assert (second.difference.n, second.difference.verdict) == (3, "better")


def test_what_cannot_be_compared_says_why() -> None:
    longer = tuple(replace(each, record=replace(each.record, epochs=48)) for each in confirmed())
    views = [
        named("a", searched(), confirmed()),
        named("b", searched()),
        named("c", searched(), confirmed()),
        replace(named("d", searched(), longer), experiment={**named("d", ()).experiment, "confirm": {"epochs": 48}}),
    ]
    reasons = {winner.study.name: winner.reason for winner in only(group_studies(views)).winners}
    assert reasons == {
        "a": "",
        "b": "not confirmed: a best of single trainings looks better than it is",
        "c": "the same architecture",
        "d": "confirmed over 48 epochs, not 24",
    }


def test_a_page_with_tables_and_figures_is_written(tmp_path: Path) -> None:
    views = [by_sampler("ours", 0, 0.9, 0.91), by_sampler("other", 0, 0.9)]
    page = write_comparison(views, tmp_path).read_text()
    before_plotly, _, _ = page.partition("<script>")
    assert not re.search(r"<(?:link|img|iframe|object|embed|base)\b|\bsrc\s*=|@import|https?://", before_plotly)
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    assert [curve["trials"] for curve in data["groups"][0]["curves"]] == [[1, 2, 3], [1, 2]]
    curves = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert [row["study"] for row in curves] == ["ours-0"] * 3 + ["other-0"] * 2
    assert len(list(csv.DictReader((tmp_path / "studies.csv").open()))) == 2
    assert (tmp_path / "hypervolume_1.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "hypervolume_1.svg").read_text()


@pytest.mark.parametrize("trials", [(), searched()[4:], searched()[:1]])
def test_studies_with_little_in_them_give_a_page(trials: tuple[TrialView, ...], tmp_path: Path) -> None:
    assert write_comparison([named("one", trials), named("two", trials)], tmp_path).exists()


def test_texts_of_a_study_change_nothing(tmp_path: Path) -> None:
    views = [named("<script>alert(1)</script>", searched(), confirmed()), named("two", searched())]
    page = write_comparison(views, tmp_path).read_text()
    assert "<script>alert" not in page


def test_the_same_study_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two or more different studies"):
        write_comparison([named("one", searched())] * 2, tmp_path)
    assert not list(tmp_path.iterdir())
