import csv
import math
from pathlib import Path

import pytest
from tiny_studies import NUM_VALIDATION, confirmed, searched, study, trial

from reports import front_rows
from reports.files.csv_files import FRONT_CSV, TRIALS_CSV, write_csv
from reports.front.tables import failure_rows


def test_the_front_comes_first_then_baselines_then_what_was_confirmed_in_vain() -> None:
    rows = front_rows(study(searched(), confirmed()))
    assert [(row.group, row.name) for row in rows] == [
        ("front", "host"),
        ("front", rows[1].id),
        ("baseline", "bam everywhere"),
        ("other", rows[3].id),
    ]
    assert [row.number for row in rows] == [0, 2, 1, 3]


def test_differences_to_the_host_are_paired_by_seed_and_get_words() -> None:
    host, se, bam, eca = front_rows(study(searched(), confirmed()))
    assert host.is_host
    assert host.accuracy_difference is None
    assert [row.accuracy_difference.verdict for row in (se, bam, eca) if row.accuracy_difference] == [
        "better",
        "not distinguishable",
        "worse",
    ]
    difference = se.accuracy_difference
    assert difference is not None
    assert difference.mean == pytest.approx((0.020 + 0.021 + 0.022) / 3)


def test_the_step_of_one_image_bounds_how_certain_a_difference_is() -> None:
    difference = front_rows(study(searched(), confirmed()))[1].accuracy_difference
    assert difference is not None
    assert difference.interval is not None
    quantile = 0.95 / math.sqrt(2 * 0.975 * 0.025)  # Student's t with 2 degrees of freedom
    half = quantile * math.sqrt(0.021 / NUM_VALIDATION) / math.sqrt(3)
    assert difference.interval.half_width == pytest.approx(half)


def test_test_accuracy_stands_beside_with_its_interval() -> None:
    se = front_rows(study(searched(), confirmed()))[1]
    assert se.test_accuracy is not None
    assert se.test_accuracy.mean == pytest.approx((0.950 + 0.955 + 0.954) / 3 - 0.01)


def test_without_confirmation_a_difference_is_one_training_each() -> None:
    rows = front_rows(study(searched()))
    assert {row.stage for row in rows} == {"search"}
    assert [row.group for row in rows] == ["front", "front", "front", "baseline"]
    assert all(row.accuracy_difference.verdict == "not distinguishable" for row in rows if row.accuracy_difference)


def test_a_study_without_results_or_without_its_host_has_rows_as_far_as_they_go() -> None:
    assert front_rows(study()) == []
    without_host = front_rows(study(searched()[1:]))
    assert {row.accuracy_difference for row in without_host} == {None}
    assert {row.host_macs for row in without_host} == {None}


def test_failures_are_grouped_by_reason_the_most_frequent_first() -> None:
    trials = [trial(i, t.architecture, None, reason="out of memory") for i, t in enumerate(searched()[:2])]
    rows = failure_rows(study((*searched(), *trials)))
    assert [(row.reason[:13], len(row.trials)) for row in rows] == [("out of memory", 2), ("loss is not f", 1)]


def test_csv_files_hold_the_numbers_as_they_are(tmp_path: Path) -> None:
    rows = front_rows(study(searched(), confirmed()))
    write_csv(tmp_path / "front.csv", rows, FRONT_CSV)
    with (tmp_path / "front.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["id"] for row in read] == [row.id for row in rows]
    assert float(read[1]["validation_accuracy_fraction"]) == pytest.approx((0.950 + 0.955 + 0.954) / 3)
    assert float(read[1]["macs_over_host_fraction"]) == pytest.approx(0.2)
    assert read[1]["latency_ms"] == ""
    assert read[0]["validation_accuracy_verdict"] == ""


def test_csv_files_without_rows_have_a_header(tmp_path: Path) -> None:
    write_csv(tmp_path / "trials.csv", [], TRIALS_CSV)
    assert (tmp_path / "trials.csv").read_text().startswith("trial,id,hash,role,label,state,reason,seed,epochs,")


def test_failed_trials_have_their_reason_and_empty_measurements(tmp_path: Path) -> None:
    write_csv(tmp_path / "trials.csv", searched(), TRIALS_CSV)
    with (tmp_path / "trials.csv").open(newline="") as file:
        failed = list(csv.DictReader(file))[-1]
    assert failed["reason"] == "loss is not finite: <script>alert(1)</script>"
    assert failed["validation_accuracy_fraction"] == ""
