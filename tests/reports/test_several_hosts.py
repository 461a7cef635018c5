"""Studies in which the host is a choice: each architecture beside its own bare host."""

import csv
from pathlib import Path
from typing import Any

import pytest
from tiny_studies import MACS, searched, study, trial

from reports import StudyView, front_rows, write_report
from reports.drawing.scatter import scatter_of
from reports.front.answer import answer_of
from reports.front.placement import naming_of, placement_map, used_sites
from reports.front.summary import best_summary
from reports.page import make_report, render_page
from reports.style import family_of
from search_spaces import Architecture

SE = {"module": "se", "reduction": 4}


def on(name: str, placement: dict[str, Any], macs: int) -> Architecture:
    """Return an architecture, and have the records say that it costs so many MACs."""
    architecture = Architecture.from_dict({"host": {"name": name, "input": 8}, "placement": placement})
    MACS[architecture] = macs
    return architecture


SMALL = on("resnet20", {}, 100)
LARGE = on("resnet32", {}, 200)
SMALL_SE = on("resnet20", {"layer1.2/branch": SE}, 110)
LARGE_SE = on("resnet32", {"layer1.2/branch": SE, "layer1.4/branch": SE}, 240)
GAIN = {SMALL: 0.0, SMALL_SE: 0.02, LARGE: 0.05, LARGE_SE: 0.04}
LABELS = {SMALL: "host (resnet20)", LARGE: "host (resnet32)"}


@pytest.fixture
def view() -> StudyView:
    """Two bare hosts and one placement on each; on ResNet-32 it is worse than nothing, by all seeds."""
    search = [trial(i, each, 0.9 + gain, label=LABELS.get(each)) for i, (each, gain) in enumerate(GAIN.items())]
    facts = {"epochs": 24, "test_accuracy": 0.9}
    confirm = [
        trial(10 * i + seed, each, 0.9 + gain + seed / 1000, label=LABELS.get(each), seed=seed, **facts)
        for i, (each, gain) in enumerate(GAIN.items())
        for seed in (1, 2, 3)
    ]
    return study(search, confirm, hosts=(SMALL, LARGE))


def test_differences_and_costs_are_those_over_the_architecture_s_own_bare_host(view: StudyView) -> None:
    rows = {row.architecture: row for row in front_rows(view)}
    assert {rows[each].is_host for each in (SMALL, LARGE)} == {True}
    assert {rows[each].accuracy_difference for each in (SMALL, LARGE)} == {None}
    for architecture, host in ((SMALL_SE, SMALL), (LARGE_SE, LARGE)):
        row, difference = rows[architecture], rows[architecture].accuracy_difference
        assert difference is not None
        assert difference.mean == pytest.approx(GAIN[architecture] - GAIN[host])
        assert row.host_macs == MACS[host]
        assert row.host == host.host.name


def test_where_a_bare_host_was_not_measured_its_architectures_are_compared_with_none(view: StudyView) -> None:
    kept = [each for each in view.search if each.architecture != LARGE]
    rows = {row.architecture: row for row in front_rows(study(kept, hosts=(SMALL, LARGE)))}
    assert rows[SMALL_SE].host_macs == MACS[SMALL]
    assert rows[LARGE_SE].host_macs is rows[LARGE_SE].accuracy_difference is None


def test_the_answer_says_which_host(view: StudyView) -> None:
    answer = " ".join(answer_of(view, best_summary(view), front_rows(view)))
    assert "the bare resnet32 has the highest accuracy" in answer
    assert "2 architectures compared with their bare hosts" in answer
    alone = study([each for each in view.search if each.architecture in (SMALL_SE, LARGE, SMALL)])
    answer = " ".join(answer_of(alone, best_summary(alone), front_rows(alone)))
    assert "the bare host" not in answer


def test_the_host_stands_before_the_modules_where_there_are_several() -> None:
    names = naming_of([SMALL, LARGE_SE])
    assert names.lines(SMALL) == ["in resnet20", "bare host"]
    assert names.lines(LARGE_SE) == ["in resnet32", "se: layer1.2/branch, layer1.4/branch"]
    assert naming_of([SMALL, SMALL_SE]).lines(SMALL) == ["bare host"]


def test_every_bare_host_is_drawn_as_one(view: StudyView) -> None:
    report = make_report(view)
    for panel in scatter_of([report.shown, report.search]).panels:
        assert {mark.name for mark in panel.of("host")} == {"host (resnet20)", "host (resnet32)"}
        assert panel.several_hosts


def test_baselines_of_one_kind_have_one_symbol_whatever_their_host() -> None:
    names = ["se everywhere (resnet20 width=0.5)", "se everywhere (resnet32)", "se everywhere"]
    assert {family_of(name) for name in names} == {"se everywhere"}
    assert family_of("random 12") == "random"


def test_sites_of_several_hosts_come_in_the_deeper_one_s_order() -> None:
    deep = on("resnet32", {"layer1.[134]/branch": SE, "layer2.0/branch": SE}, 1)
    shallow = on("resnet20", {"layer1.2/branch": SE, "layer1/end": SE}, 1)
    expected = (*(f"layer1.{i}/branch" for i in (1, 2, 3, 4)), "layer1/end", "layer2.0/branch")
    assert used_sites([shallow, deep]) == used_sites([deep, shallow]) == expected


def test_shares_are_among_the_architectures_whose_host_has_the_site() -> None:
    found = placement_map([SMALL, SMALL_SE, LARGE, LARGE_SE], [LARGE_SE])
    assert found.sites == ("layer1.2/branch", "layer1.4/branch")
    assert [(row[0].count, row[0].total) for row in found.front] == [(2, 4), (1, 2)]
    assert [(row[1].count, row[1].total) for row in found.front] == [(2, 4), (1, 2)]


def test_the_page_and_the_tables_name_the_hosts(view: StudyView, tmp_path: Path) -> None:
    page = render_page(make_report(view))
    assert "Attention placements in resnet20, resnet32" in page
    assert "the bare host of the same name" in page
    deep = study([trial(0, SMALL_SE, 0.9), trial(1, LARGE_SE, 0.95)], hosts=(SMALL, LARGE))
    assert 'title="this host has no such site"' in render_page(make_report(deep))
    write_report(view, tmp_path)
    with (tmp_path / "front.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows[LARGE_SE.id]["host"] == "resnet32"
    assert float(rows[LARGE_SE.id]["macs_over_host_fraction"]) == pytest.approx(0.2)
    with (tmp_path / "trials.csv").open(newline="") as file:
        assert [row["host"] for row in csv.DictReader(file)] == [each.host.name for each in GAIN]


def test_a_study_over_one_host_does_not_repeat_its_name() -> None:
    rows = front_rows(study(searched()))
    assert {row.host for row in rows} == {""}
    assert "in resnet20" not in "".join(line for row in rows for line in row.placement)
