"""What stands on the page beside the tables: how sure, how the search went, what trainings got over."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_studies import placements
from test_page import data_of, page_of
from tiny_studies import BARE, ECA, HOST, MACS, SE, confirmed, record, searched, study, trial

from reports import StudyView, write_report
from reports.findings.all_findings import troubles_of
from reports.findings.progress import hypervolume_curve
from reports.findings.random_search import RandomSearch, random_search_of
from reports.findings.search_time import search_time_of
from trials.record import EpochResult

SPACE = {
    "host": HOST,
    "choices": [{"at": "*/branch", "modules": {"none": {}, "se": {"reduction": [4]}, "eca": {"kernel_size": [3]}}}],
}


def with_worth(num: int = 60, **changes: object) -> StudyView:
    """Return a search in which every SE is worth half a point."""
    trials = [trial(0, BARE, 0.8, label="host")]
    for i, each in enumerate(placements(num)[1:], start=1):
        num_se = sum(spec.module == "se" for _, specs in each.items for spec in specs)
        trials.append(trial(i, each, 0.8 + 0.005 * num_se, macs=1000 + MACS[each]))
    experiment = {"data": {"source": "digits"}, "confirm": {"epochs": 24}, "space": SPACE}
    return study(trials, **{"experiment": experiment, **changes})


def test_a_random_search_of_the_same_size_is_simulated_in_the_study_s_box() -> None:
    found = random_search_of(with_worth())
    assert isinstance(found, RandomSearch)
    assert len(found.middle) == 60
    assert all(low <= mid <= high for low, mid, high in zip(found.low, found.middle, found.high, strict=True))
    assert list(found.middle) == sorted(found.middle)
    assert 0 <= found.below <= 1
    assert "An estimate, nothing was trained for it" in page_of(with_worth())


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (study(searched()), "too few trials"),
        (with_worth(experiment={"confirm": {}}), "the space cannot be built again"),
        (study(searched(("latency_ms", "macs")), objectives=("latency_ms", "macs")), "cannot tell latency"),
        (study((*searched(), replace(searched()[2], state="stopped"))), "stopped trials early"),
    ],
)
def test_where_a_random_search_cannot_be_estimated_the_reason_stands(view: StudyView, why: str) -> None:
    found = random_search_of(view)
    assert isinstance(found, str)
    assert why in found
    assert why in page_of(view)


def test_wall_time_is_that_in_which_something_was_trained() -> None:
    # Two trainings of 2 s at once, a pause of an hour, and one more.
    starts = ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00", "2026-01-01T01:00:00+00:00")
    trials = [
        trial(i, each, 0.9, started_at=at) for i, (each, at) in enumerate(zip((BARE, SE, ECA), starts, strict=True))
    ]
    assert hypervolume_curve(study(trials)).busy_s == pytest.approx((2.0, 3.0, 5.0))
    found = search_time_of(study(trials))
    assert found is not None
    assert found.busy_s == pytest.approx(5.0)
    assert found.total_s == pytest.approx(6.0)
    assert found.most_at_once == 2


def test_starts_that_cannot_be_read_leave_wall_time_out() -> None:
    view = study([trial(0, BARE, 0.9, started_at="yesterday")])
    assert hypervolume_curve(view).busy_s == ()
    assert 'value="hours"' not in page_of(view)


def test_time_is_told_apart_into_training_validation_and_the_rest() -> None:
    # 4,000 images at 4,000 a second take 1 s of each epoch's 1.25 s; the trial takes 4 s.
    epochs = tuple(EpochResult(i, 1.0, 0.9, 0.1, 0.1, 1.25) for i in (1, 2))
    found = search_time_of(study([trial(0, BARE, 0.9, history=epochs, images_per_s=4000.0, wall_s=4.0)]))
    assert found is not None
    assert [share.seconds for share in found.within] == pytest.approx([2.0, 0.5, 1.5])


def test_before_anything_finished_no_time_is_told() -> None:
    assert search_time_of(study()) is None
    assert search_time_of(study(searched()[4:])) is None


def test_warnings_and_batches_in_parts_stand_among_the_failures() -> None:
    evil = "no checkpoint: <script>alert(3)</script>"
    trials = [
        trial(0, BARE, 0.9, label="host", warnings=(evil,)),
        trial(1, SE, 0.9, warnings=(evil,)),
        trial(2, ECA, 0.9, accumulation=2),
    ]
    found = troubles_of(study(trials))
    assert [(row.what, len(row.trials)) for row in found] == [
        (evil, 2),
        ("each batch was trained in 2 parts, since memory ran out", 1),
    ]
    page = page_of(study(trials))
    assert "What trainings got over" in page
    assert "&lt;script&gt;alert(3)" in page
    assert "What trainings got over" not in page_of(study(searched()))


def test_the_page_says_how_sure_it_is_with_and_without_a_confirmation() -> None:
    confirmed_page, search_page = page_of(study(searched(), confirmed())), page_of(study(searched()))
    assert "scatter by" in confirmed_page
    assert "No network can be compared with itself here" in confirmed_page
    assert "corrected for having been picked" in confirmed_page
    assert "measured once for each confirmed training" in confirmed_page
    assert "is not known: that takes at least two architectures" in search_page
    assert "so this corrects too little" in search_page


@pytest.mark.parametrize(
    "trials",
    [
        [trial(0, SE, 0.9)],
        [trial(i, each, 0.9) for i, each in enumerate((BARE, SE, ECA))],
        [trial(0, BARE, 0.90), trial(1, ECA, 0.91), trial(2, SE, 0.92)],
        [replace(trial(0, BARE, 0.9), values=(math.nan, 1.0)), trial(1, SE, 0.9)],
        [replace(trial(0, SE, None), record=record(SE, None))],
    ],
    ids=["one trial", "ties", "all on the front", "not a number", "only failures"],
)
def test_small_studies_give_a_page_with_all_sections(trials: list, tmp_path: Path) -> None:
    page = write_report(study(trials), tmp_path).read_text(encoding="utf-8")
    assert all(f'<section id="{name}"' in page for name in ("answer", "where", "sure", "search", "failures"))
    for name in ("recommended", "enrichment", "effects"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            assert next(csv.reader(file))


def test_the_page_draws_hours_and_a_band_of_random_search_for_every_finished_trial() -> None:
    drawn = data_of(page_of(with_worth()))["hypervolume"]
    assert {len(drawn["hours"]), len(drawn["values"]), *map(len, drawn["random"].values())} == {60}
    assert data_of(page_of(study(searched())))["hypervolume"]["random"] is None
