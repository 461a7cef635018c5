"""The ledger: the life of a trial, and what survives a driver."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from toy_search import Toy

from nas.proposals.parameters import Draw
from nas.study.journal import open_storage, read_storage
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Counts, state_of
from search_spaces import Architecture
from search_spaces.errors import InputError


def architectures(toy: Toy, num: int) -> list[Architecture]:
    return [toy.space.decode((i, 0, 0, 0, 0)) for i in range(num)]


def queue(ledger: Ledger, toy: Toy, num: int) -> list[int]:
    """Queue proposals without a sampler."""
    return [
        ledger.propose(a, Draw((i, 0, 0, 0, 0), {}, {}), seed=0, epochs=2, batch=(0, num))
        for i, a in enumerate(architectures(toy, num))
    ]


def test_a_trial_is_queued_taken_recorded_and_told_in_natural_units(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    assert ledger.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert queue(ledger, toy, 2) == [0, 1]
    assert ledger.counts() == Counts(waiting=2)
    first = toy.take(ledger)
    assert (first.number, first.seed, first.epochs, first.role, first.label) == (0, 0, 2, "proposal", None)
    assert first.architecture == architectures(toy, 1)[0]
    assert ledger.counts() == Counts(waiting=1, running=1)
    record = toy.record(first, accuracy=0.75)
    ledger.record(0, record)
    assert ledger.tell(in_order=True) == [0]
    assert ledger.trials()[0].values == [0.75, record.macs]
    assert ledger.counts() == Counts(waiting=1, complete=1)


def test_results_are_told_in_the_order_asked_or_at_once(toy: Toy, tmp_path: Path) -> None:
    told = {}
    for in_order in (True, False):
        ledger = toy.open(tmp_path / str(in_order))
        queue(ledger, toy, 3)
        proposals = [toy.take(ledger) for _ in range(3)]
        told[in_order] = []
        for i in (2, 0, 1):
            ledger.record(i, toy.record(proposals[i]))
            told[in_order].append(ledger.tell(in_order=in_order))
    assert told == {True: [[], [0], [1, 2]], False: [[2], [0], [1]]}


def test_baselines_wait_for_nobody_and_nobody_for_them(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    bare, se = architectures(toy, 2)
    assert ledger.add(bare, label="host", seed=0, epochs=2) == 0
    number = ledger.propose(se, Draw((1, 0, 0, 0, 0), {}, {}), seed=0, epochs=2, batch=(0, 1))
    baseline, proposal = toy.take(ledger), toy.take(ledger)
    assert (baseline.role, baseline.label) == ("baseline", "host")
    ledger.record(number, toy.record(proposal))
    assert ledger.tell(in_order=True) == [number]
    ledger.record(0, toy.record(baseline))
    assert ledger.tell(in_order=True) == [0]
    assert ledger.counts("baseline") == Counts(complete=1)


def test_a_baseline_is_added_once_per_seed_and_length(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    bare = toy.bare_host()
    jobs = [(0, 2), (0, 2), (1, 2), (0, 3), (1, 2)]
    assert [ledger.add(bare, label="host", seed=s, epochs=e) for s, e in jobs] == [0, 0, 1, 2, 1]


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_reaches_optuna(toy: Toy, tmp_path: Path, accuracy: float) -> None:
    ledger = toy.open(tmp_path)
    queue(ledger, toy, 1)
    proposal = toy.take(ledger)
    record = toy.record(proposal, accuracy=accuracy)
    ledger.record(0, record)
    ledger.tell(in_order=True)
    (trial,) = Ledger.load(read_storage(tmp_path), "search").trials()
    assert trial.state == TrialState.FAIL
    assert trial.values is None
    assert trial.user_attrs["reason"] == "accuracy was not measured, or is not finite"
    assert ledger.values(record) is None


def test_an_objective_that_was_not_measured_fails_the_trial_by_name(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ("accuracy", "latency_ms"))
    queue(ledger, toy, 1)
    proposal = toy.take(ledger)
    ledger.record(0, toy.record(proposal))
    ledger.tell(in_order=True)
    assert ledger.trials()[0].user_attrs["reason"].startswith("latency_ms was not measured")


def test_a_failed_record_fails_with_its_reason(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    queue(ledger, toy, 1)
    proposal = toy.take(ledger)
    ledger.record(0, toy.record(proposal, failed=True))
    ledger.tell(in_order=True)
    assert ledger.trials()[0].user_attrs["reason"] == "the loss is not finite"
    assert ledger.counts() == Counts(failed=1)


def test_refused_trials_count_nowhere_else_and_are_not_known(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    ledger.refuse("limit: sites 5 above 2", Draw((1, 1, 1, 1, 1), {}, {}))
    assert ledger.counts() == Counts(refused=1)
    assert ledger.known() == {}
    assert ledger.take() is None
    assert state_of(ledger.trials()[0]) == "refused"


def test_what_a_dead_driver_was_running_is_handed_out_again(toy: Toy, tmp_path: Path) -> None:
    dead = toy.open(tmp_path)
    queue(dead, toy, 3)
    first, second = toy.take(dead), toy.take(dead)
    dead.record(1, toy.record(second))  # stored, and killed before it was its turn
    ledger = toy.open(tmp_path)
    ledger.recover(in_order=True)
    assert [p.number for p in ledger.unfinished()] == [0, 2]
    assert ledger.take() == first
    ledger.record(0, toy.record(first))
    assert ledger.tell(in_order=True) == [0, 1]


def test_a_stored_result_is_told_on_recovery_and_not_run_again(toy: Toy, tmp_path: Path) -> None:
    dead = toy.open(tmp_path)
    queue(dead, toy, 1)
    proposal = toy.take(dead)
    dead.record(0, toy.record(proposal))
    ledger = toy.open(tmp_path)
    ledger.recover(in_order=True)
    assert ledger.counts() == Counts(complete=1)
    assert ledger.unfinished() == []


def test_a_clean_stop_puts_back_what_runs_and_keeps_what_is_stored(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    queue(ledger, toy, 3)
    _first, second = toy.take(ledger), toy.take(ledger)
    ledger.record(1, toy.record(second))
    ledger.release()
    states = [t.state for t in Ledger.load(read_storage(tmp_path), "search").trials()]
    assert states == [TrialState.WAITING, TrialState.RUNNING, TrialState.WAITING]
    assert [p.number for p in ledger.unfinished()] == [0, 2]


def test_a_trial_that_holds_no_proposal_is_failed_on_recovery(toy: Toy, tmp_path: Path) -> None:
    toy.open(tmp_path)
    optuna.load_study(study_name="search", storage=open_storage(tmp_path)).ask()
    ledger = toy.open(tmp_path)
    ledger.recover(in_order=True)
    (trial,) = optuna.load_study(study_name="search", storage=read_storage(tmp_path)).trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["refused"] == "interrupted while being proposed"
    assert ledger.trials() == []
    assert ledger.take() is None


def test_attributes_are_set_once_unless_set_on_purpose(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    Ledger.open(storage, "search", ["accuracy"], {"version": "1", "experiment": {"trials": 3}})
    ledger = Ledger.open(storage, "search", ["accuracy"], {"version": "2"})
    assert ledger.attributes == {"objectives": ["accuracy"], "version": "1", "experiment": {"trials": 3}}
    ledger.set_attribute("version", "2")
    assert Ledger.load(storage, "search").attributes["version"] == "2"


def test_search_and_confirm_live_in_one_storage_and_do_not_mix(toy: Toy, tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    search, confirm = (Ledger.open(storage, name, ["loss"]) for name in ("search", "confirm"))
    search.add(toy.bare_host(), label="host", seed=0, epochs=1)
    assert confirm.add(toy.bare_host(), label="host", seed=0, epochs=1) == 0
    search.take()
    assert confirm.counts("baseline") == Counts(waiting=1)
    assert search.counts("baseline") == Counts(running=1)


def test_loading_what_is_not_there_says_so(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    Ledger.open(storage, "search", ["accuracy"])
    with pytest.raises(InputError, match="no study 'confirm'"):
        Ledger.load(storage, "confirm")
