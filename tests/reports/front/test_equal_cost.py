"""The confirmed architectures against what costs the same."""

import csv
from pathlib import Path

import pytest
from tiny_studies import BAM, BARE, ECA, HOST, MACS, SE, confirmed, searched, study, trial

from reports import StudyView, correct_for_many, front_rows, paired_difference, write_report
from reports.drawing.scatter import scatter_of
from reports.front.answer import answer_of
from reports.front.equal_cost import EqualCostRow, equal_cost_rows
from reports.front.summary import best_summary
from reports.page import make_report, render_page
from reports.style import family_of
from reports.view import Control
from search_spaces import Architecture

WIDER = Architecture.from_dict({"host": {**HOST, "width": 1.0625}, "placement": {}})
LIKE = Architecture.from_dict({"host": HOST, "placement": {"layer2.0/branch": {"module": "eca"}}})
MACS[WIDER], MACS[LIKE] = 125, 119
LEVELS = {WIDER: ("host width 1.06", 0.945), LIKE: (f"random like {SE.id}", 0.931)}
CONTROLS = (
    Control(SE.hash, "handmade", BAM, "bam everywhere"),
    Control(SE.hash, "random", LIKE, f"random like {SE.id}"),
    Control(SE.hash, "wider", WIDER, "host width 1.06"),
    Control(ECA.hash, "handmade", None, reason="no hand-made placement within 5% of its cost"),
    Control(ECA.hash, "wider", WIDER, "host width 1.06"),
)


def controlled(controls: tuple[Control, ...] = CONTROLS) -> StudyView:
    """Return the tiny study with a random placement and a wider host, whose seeds differ by 2 points at most."""
    further = [
        trial(50 + 10 * i + seed, each, level + (0.001, 0.002, -0.001)[seed - 1], label=label, seed=seed, epochs=24)
        for i, (each, (label, level)) in enumerate(LEVELS.items())
        for seed in (1, 2, 3)
    ]
    return study(searched(), (*confirmed(), *further), controls=controls)


def rows_of(view: StudyView) -> list[EqualCostRow]:
    return equal_cost_rows(view, best_summary(view), front_rows(view))


def by_seed(view: StudyView, architecture: Architecture) -> dict[int, float]:
    found = [t.record for t in view.confirm if t.architecture == architecture and t.record]
    return {record.seed: record.accuracy or 0.0 for record in found}


def test_each_architecture_stands_against_each_of_its_controls_the_front_first() -> None:
    rows = rows_of(controlled())
    assert [(row.of.id, row.label) for row in rows] == [
        (SE.id, "bam everywhere"),
        (SE.id, f"random like {SE.id}"),
        (SE.id, "host width 1.06"),
        (ECA.id, ""),
        (ECA.id, "host width 1.06"),
    ]
    assert [row.macs for row in rows] == [200, 119, 125, None, 125]
    assert rows[3].reason == "no hand-made placement within 5% of its cost"


def test_differences_are_paired_and_corrected_for_all_comparisons_of_the_table() -> None:
    view = controlled()
    pairs = [(SE, BAM), (SE, LIKE), (SE, WIDER), (ECA, WIDER)]
    expected = correct_for_many(
        [paired_difference(by_seed(view, a), by_seed(view, b), step=1 / 1000) for a, b in pairs]
    )
    assert [row.quality_difference for row in rows_of(view) if row.quality_difference] == expected


def test_the_best_control_has_the_best_mean() -> None:
    assert [row.is_best for row in rows_of(controlled())] == [False, False, True, False, True]
    assert [row.is_best for row in rows_of(controlled(CONTROLS[:2]))] == [True, False]


def test_what_was_not_trained_is_no_comparison() -> None:
    cut = Control(SE.hash, "random", LIKE, "random", reason="left out: `confirm.budget` has no room for it")
    (row,) = rows_of(controlled((cut,)))
    assert row.quality_difference is None
    assert row.reason == cut.reason
    unknown = Control(SE.hash, "random", Architecture.from_dict({"host": HOST, "placement": {}}), "random")
    view = study(searched(), confirmed()[3:], controls=(unknown,))
    assert [row.reason for row in rows_of(view)] == ["not trained yet, or every training of it failed"]


def test_there_is_nothing_before_the_confirmation_or_without_controls() -> None:
    assert rows_of(study(searched(), controls=CONTROLS)) == []
    assert rows_of(controlled(())) == []
    assert "Against equal cost" not in render_page(make_report(controlled(())))


def test_the_answer_says_whether_it_is_attention_in_one_sentence() -> None:
    view = controlled()
    answer = answer_of(view, best_summary(view), front_rows(view), rows_of(view))
    (sentence,) = [each for each in answer if each.startswith("Is it attention, or just more compute?")]
    assert "Of 2 architectures compared with the best of their controls of equal cost in accuracy" in sentence
    one = controlled(CONTROLS[:2])
    answer = answer_of(one, best_summary(one), front_rows(one), rows_of(one))
    (sentence,) = [each for each in answer if each.startswith("Is it attention")]
    # SE costs 120 MACs and BAM 200, ten parameters each.
    assert "(bam everywhere; −40.0 % parameters and −40.0 % MACs over it)" in sentence
    assert f"{SE.id} has +2.10 [" in sentence


@pytest.mark.parametrize("controls", [CONTROLS, ()], ids=["asked for", "not asked for any more"])
def test_a_wider_host_is_compared_with_the_host_and_is_no_second_host(controls: tuple[Control, ...]) -> None:
    view = controlled(controls)
    rows = {row.name: row for row in front_rows(view)}
    wider = rows["host width 1.06"]
    assert wider.quality_difference is not None
    assert not wider.is_host
    assert wider.host_macs == MACS[BARE]
    # 1.5, 1.3 and 1.2 points over the host's three seeds.
    assert wider.quality_difference.mean == pytest.approx((0.016 + 0.013 + 0.012) / 3)
    assert {row.host for row in rows.values()} == {""}
    (panel, _) = scatter_of([best_summary(view), best_summary(study(searched()))]).panels
    assert not panel.several_hosts
    assert "host width 1.06" in {mark.name for mark in panel.of("baseline")}


def test_controls_of_one_kind_have_one_symbol() -> None:
    names = ("random like d018601cb0", "random 2", "se everywhere r=8 (resnet56)", "se in layer3 r=4", "host width 1.1")
    assert [family_of(name) for name in names] == ["random", "random", "se everywhere", "se in layer", "host width"]


def test_the_page_and_the_table_hold_the_comparisons(tmp_path: Path) -> None:
    page = write_report(controlled(), tmp_path).read_text(encoding="utf-8")
    assert "<h3>Against equal cost</h3>" in page
    assert "no hand-made placement within 5% of its cost" in page
    assert "corrected for the 4 comparisons of this table" in page
    with (tmp_path / "equal_cost.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["control_label"] for row in rows] == [row.label for row in rows_of(controlled())]
    assert [row["best_control"] for row in rows] == ["False", "False", "True", "False", "True"]
    assert float(rows[0]["validation_quality_over_control_fraction"]) == pytest.approx(0.021)
    assert rows[3]["validation_quality_verdict"] == ""
