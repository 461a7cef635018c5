from dataclasses import replace

import pytest
from scipy.stats import binomtest
from tiny_studies import BAM, BARE, ECA, MACS, SE, confirmed, placed, record, study, trial

from reports import StudyView, TrialView
from reports.findings.early_stopping import Stopping, sentences, stopping_of
from reports.findings.reliability import fidelities_of
from reports.front.summary import summarise_confirm, summarise_search
from reports.page import make_report, render_page

EXPERIMENT = {
    "data": {"source": "digits"},
    "train": {"epochs": 8},
    "search": {"early_stopping": {"rungs": [2, 4]}},
    "confirm": {"epochs": 24},
}
GATED = placed({"layer2.0/branch": {"module": "eca"}})
MACS[GATED] = 110


def stopped(whole: TrialView, epochs: int) -> TrialView:
    """Return a trial as it is if it was stopped after so many epochs; a leg goes on from half of the one before."""
    legs = [rung for rung in (2, 4) if rung <= epochs]
    rungs = tuple(
        record(whole.architecture, 0.5 + rung / 100, epochs=rung, first_epoch=1 if rung == 2 else 2) for rung in legs
    )
    return replace(whole, state="stopped", record=rungs[-1], rungs=rungs, values=None)


def went_on(whole: TrialView, **changes: object) -> TrialView:
    """Return a finished trial that passed both rungs."""
    assert whole.record is not None
    rungs = stopped(whole, 4).rungs
    return replace(whole, record=replace(whole.record, first_epoch=4), rungs=rungs, **changes)  # type: ignore[arg-type]


def a_study() -> StudyView:
    search = (
        trial(0, BARE, 0.90, label="host"),
        went_on(trial(1, SE, 0.92)),
        went_on(trial(2, ECA, 0.91), spared_at=2),
        stopped(trial(3, BAM, 0.99), 4),
        stopped(trial(4, GATED, 0.99), 2),
    )
    return study(search, experiment=EXPERIMENT)


def test_what_was_trained_is_counted_in_epochs_of_the_legs() -> None:
    view = a_study()
    found = stopping_of(view, summarise_search(view))
    assert found is not None
    assert found.stopped_at == {2: 1, 4: 1}
    # To the end: 2 + 3 + 5 epochs; stopped at 4: 2 + 3; stopped at 2: 2.
    assert found.epochs_trained == 2 * 10 + 5 + 2
    assert found.epochs_without == 4 * 8
    assert "(1 after 2 epochs, 1 after 4 epochs): 27 epochs of training in place of 32 (84%)" in sentences(found)[0]


def test_what_was_lost_is_estimated_from_what_was_let_live() -> None:
    view = a_study()
    found = stopping_of(view, summarise_search(view))
    assert found is not None
    # ECA, the spared one, is on the front: 1 of 1.
    interval = binomtest(1, 1).proportion_ci()
    assert found.lost == pytest.approx((1.0, interval.low, 1.0))
    assert "1 more was to be stopped and let live to tell what stopping costs: 1 of it is" in sentences(found)[1]


@pytest.mark.parametrize("hits", [0, 3, 7])
def test_the_interval_of_a_loss_is_the_exact_one(hits: int) -> None:
    found = Stopping({2: 90}, 10, 300, 600, num_spared=7, num_spared_on_front=hits)
    interval = binomtest(hits, 7).proportion_ci(method="exact")
    assert found.lost == pytest.approx((hits / 7, interval.low, interval.high))


def test_where_nothing_was_let_live_nothing_is_claimed() -> None:
    view = a_study()
    view = replace(view, search=tuple(replace(trial, spared_at=None) for trial in view.search))
    found = stopping_of(view, summarise_search(view))
    assert found is not None
    assert found.lost is None
    assert "nothing can be said" in sentences(found)[1]


def test_without_early_stopping_there_is_nothing_to_say() -> None:
    view = study(a_study().search)
    assert stopping_of(view, summarise_search(view)) is None


def test_stopped_trials_are_drawn_apart_and_on_no_front() -> None:
    report = make_report(a_study())
    (panel,) = report.scatter.panels
    assert {mark.name for mark in panel.of("stopped")} == {BAM.id, GATED.id}
    assert {mark.quality for mark in panel.of("stopped")} == {0.52, 0.54}
    assert not {mark.name for mark in panel.finished} & {BAM.id, GATED.id}
    assert {item.architecture for item in report.search.items} == {BARE, SE, ECA}
    page = render_page(report)
    assert "Crosses were stopped early" in page
    assert "stopped after 4 epochs" in page


def test_each_rung_is_held_against_the_confirmation() -> None:
    # Confirmed: ECA 0.911 < host 0.932 = BAM < SE 0.953.
    early = {ECA: 0.1, BARE: 0.2, BAM: 0.3, SE: 0.4}
    late = {ECA: 0.4, BARE: 0.3, BAM: 0.2, SE: 0.1}
    search = [
        replace(
            trial(i, architecture, late[architecture]), rungs=(record(architecture, early[architecture], epochs=2),)
        )
        for i, architecture in enumerate(early)
    ]
    view = study(search, confirmed(), experiment=EXPERIMENT)
    found = fidelities_of(view, summarise_confirm(view))
    assert [(each.epochs, each.confirmed_epochs, each.tau.n) for each in found] == [(2, 24, 4), (8, 24, 4)]
    # Six pairs, one tied in the confirmation: tau-b = 5 / sqrt(6 * 5) one way and the other.
    assert [each.tau.value for each in found] == pytest.approx([5 / 30**0.5, -5 / 30**0.5])
