"""Reports on networks that give each pixel a class: mIoU stands where accuracy stands otherwise."""

import csv
from pathlib import Path

import pytest
from tiny_studies import BARE, ECA, SE, record, study, trial

from reports import StudyView, write_report
from reports.findings.provenance import provenance_of
from reports.front.answer import answer_of
from reports.front.summary import best_summary
from reports.front.tables import front_rows
from reports.page import make_report, render_page
from reports.quality import ACCURACY, MIOU, accuracy_of, quality_of
from reports.statistics.intervals import paired_difference

MACS_MIOU = ("miou", "macs")
BASE = {1: 0.30, 2: 0.32, 3: 0.31}
GAIN = {1: 0.050, 2: 0.051, 3: 0.049}


def segmented() -> StudyView:
    """Return a study whose SE is better than the host in mIoU by about 0.05, but worse in pixel accuracy."""
    sizes = {"small": 0.1, "medium": 0.2, "large": None}
    search = [
        trial(0, BARE, 0.90, label="host", objectives=MACS_MIOU, miou=0.30, miou_by_size=sizes),
        trial(1, SE, 0.89, objectives=MACS_MIOU, miou=0.35, miou_by_size=sizes),
    ]
    confirm = []
    for architecture, sign, label in ((BARE, 0, "host"), (SE, 1, None)):
        for seed, start in BASE.items():
            miou = start + sign * GAIN[seed]
            facts = {"seed": seed, "epochs": 24, "miou": miou, "miou_by_size": sizes, "test_miou": miou - 0.02}
            accuracy = 0.9 - 0.01 * sign
            confirm.append(trial(len(confirm), architecture, accuracy, label=label, objectives=MACS_MIOU, **facts))
    return study(search, confirm, objectives=MACS_MIOU)


def test_miou_is_shown_where_it_was_measured_and_accuracy_elsewhere() -> None:
    assert quality_of([record(BARE, 0.9)]) is ACCURACY
    assert quality_of([record(BARE, 0.9), record(SE, 0.9, miou=0.4)]) is MIOU
    assert accuracy_of([record(SE, 0.9, miou=0.4)]).words == "pixel accuracy"


def test_a_row_compares_miou_over_the_spread_of_the_seeds_alone() -> None:
    row = next(row for row in front_rows(segmented()) if row.architecture == SE)
    expected = paired_difference({s: BASE[s] + GAIN[s] for s in BASE}, BASE, step=0.0)
    assert row.quality_difference is not None
    assert expected.interval is not None
    assert row.quality_difference.interval == expected.interval
    assert row.quality_difference.verdict == "better"
    assert row.quality is not None
    assert row.quality.mean == pytest.approx(0.36)
    assert row.test_quality is not None
    assert row.test_quality.mean == pytest.approx(0.34)
    assert {size: interval.mean for size, interval in row.miou_by_size.items()} == pytest.approx(
        {"small": 0.1, "medium": 0.2}
    )


def test_one_image_is_no_step_of_a_pixel_accuracy() -> None:
    assert MIOU.step(record(BARE, 0.9, miou=0.3)) == 0
    assert accuracy_of([record(BARE, 0.9, miou=0.3)]).step(record(BARE, 0.9)) == 0
    assert ACCURACY.step(record(BARE, 0.9, num_validation=250)) == 1 / 250


def test_the_answer_is_about_miou() -> None:
    view = segmented()
    summary = best_summary(view)
    text = " ".join(answer_of(view, summary, front_rows(view)))
    assert "has the highest mIoU: 36.00 ± " in text
    assert "compared with the bare host in mIoU" in text
    assert "images right" not in text


def test_nothing_is_said_of_binomial_errors_where_pixels_are_counted() -> None:
    view = segmented()
    sentences = " ".join(provenance_of(view, best_summary(view)).precision)
    assert "binomial" not in sentences
    assert "pixels of an image are not independent" in sentences
    commands = [command for command, _ in provenance_of(view, best_summary(view)).commands]
    assert "nas export studies/tiny --pick best-miou" in commands


def test_the_page_the_figures_and_the_tables_name_it(tmp_path: Path) -> None:
    page = write_report(segmented(), tmp_path).read_text()
    assert "Validation mIoU" in page
    assert "Validation accuracy" not in page
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {
        "miou_macs.png",
        "miou_params.svg",
        "miou_params.csv",
    }
    with (tmp_path / "front.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert float(rows[SE.id]["validation_miou_fraction"]) == pytest.approx(0.36)
    assert float(rows[SE.id]["validation_miou_small_fraction"]) == pytest.approx(0.1)
    assert rows[SE.id]["validation_miou_large_fraction"] == ""
    with (tmp_path / "trials.csv").open() as file:
        assert [float(row["validation_miou_fraction"]) for row in csv.DictReader(file)] == [0.30, 0.35]


def test_a_report_on_classes_of_images_says_nothing_of_miou() -> None:
    view = study([trial(0, BARE, 0.9, label="host"), trial(1, ECA, 0.91)])
    assert "mIoU" not in render_page(make_report(view))


def test_hovering_over_a_mark_shows_miou_by_size_and_the_accuracy_of_the_pixels() -> None:
    view = segmented()
    (mark,) = [m for m in make_report(view).scatter.panels[0].marks if m.look == "front" and m.name == SE.id]
    assert mark.quality == pytest.approx(0.36)
    assert any(line.startswith("mIoU 36.00") for line in mark.facts)
    assert any(line.startswith("mIoU of small objects 10.00") for line in mark.facts)
    assert any(line.startswith("pixel accuracy 89.00") for line in mark.facts)
