"""What is left to train, and how long it takes: arithmetic on a toy search."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_search import Toy

from nas.experiment import ConfirmConfig, ExperimentConfig
from nas.proposals.parameters import Draw
from nas.running.time_left import Job, Times, count_trainings, jobs_of_confirmation, jobs_of_search, time_left
from nas.study.journal import open_storage
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal
from search_spaces import Architecture
from trials.forecast import Forecast
from trials.record import EpochResult, TrialRecord


def config_of(**changes: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "space": "digits-gates",
            "data": {"source": "digits", "validation": 100},
            "train": {"epochs": 4, "batch_size": 50, "lr": 0.1, "warmup": 0},
            "search": {"trials": 10, "deterministic": False},
            "confirm": {"top": 3, "seeds": 2, "epochs": 6, "controls": []},
        }
        | changes
    )


def trained(record: TrialRecord, epochs: int, epoch_s: float = 2.0) -> TrialRecord:
    history = tuple(EpochResult(n, 1.0, 0.5, 1.0, 0.1, epoch_s) for n in range(1, epochs + 1))
    return replace(record, history=history, wall_s=epochs * epoch_s, num_train=100)


def propose(toy: Toy, ledger: Ledger, number: int, epochs: int = 4, rungs: tuple[int, ...] = ()) -> None:
    indices = toy.space.at(number)
    architecture, draw = toy.space.decode(indices), Draw(indices, {}, {}, {})
    ledger.propose(architecture, draw, seed=0, epochs=epochs, batch=(number, 1), rungs=rungs)


def total(jobs: list[Job]) -> float:
    return sum(job.times.expected * job.epochs for job in jobs)


def test_queued_running_and_future_trials_count_with_their_epochs(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    ledger.add(toy.bare_host(), label="host", seed=0, epochs=4)
    for number in (1, 2, 3):
        propose(toy, ledger, number)
    running = [toy.take(ledger).number for _ in range(2)]
    jobs = jobs_of_search(config_of(), ledger, {running[1]: 3}, 1)
    # The host in full, one proposal with one epoch left, two queued, and seven of ten that nobody knows yet.
    assert total(jobs) == pytest.approx(4 + 1 + 2 * 4 + 7 * 4)
    assert [job.started for job in jobs[:4]] == [False, True, False, False]


def test_early_stopping_makes_those_to_come_shorter_and_pays_for_each_cool_down(toy: Toy, tmp_path: Path) -> None:
    train = {"epochs": 40, "batch_size": 50, "lr": 0.1, "warmup": 0, "schedule": "wsd", "cooldown": 0.2}
    stopping = {"rungs": [5, 10], "reduction_factor": 2, "let_live": 0}
    search = {"trials": 4, "deterministic": False, "early_stopping": stopping}
    config, ledger = config_of(train=train, search=search), toy.open(tmp_path)
    for number in (1, 2, 3):
        propose(toy, ledger, number, epochs=40, rungs=(5, 10))
    paused, running = toy.take(ledger), toy.take(ledger)
    ledger.record(paused.number, trained(toy.record(paused), 5))
    jobs = jobs_of_search(config, ledger, {running.number: 3}, 1)
    # Legs go to 5, from 4 to 10, and from 8 to 40; half of the trials go on from each.
    later = (10 - 4) + (40 - 8) / 2
    assert [job.epochs for job in jobs[:3]] == [later / 2, 2 + later / 2, 5 + later / 2]
    assert total(jobs[3:]) == pytest.approx(5 + later / 2)


def test_a_failed_trial_says_nothing_about_how_long_trials_are(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    propose(toy, ledger, 1)
    proposal = toy.take(ledger)
    ledger.record(proposal.number, toy.record(proposal, failed=True))
    ledger.tell(in_order=False)
    assert total(jobs_of_search(config_of(), ledger, {}, 1)) == pytest.approx(10 * 4)


def test_workers_wait_at_the_end_of_a_generation(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    ledger.set_attribute("generation", 4)
    ledger.add(toy.bare_host(), label="host", seed=0, epochs=4)
    toy.take(ledger)
    config = config_of(search={"trials": 10, "deterministic": True})
    # Generations of 4, 4 and 2 by three workers take 2, 2 and 1 rounds, in which 15 could have been trained.
    assert total(jobs_of_search(config, ledger, {}, 3)) == pytest.approx(4 + 15 * 4)


def test_an_exhausted_space_has_nothing_to_come(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    ledger.set_attribute("exhausted", True)
    assert jobs_of_search(config_of(), ledger, {}, 1) == []


def test_the_confirmation_counts_before_and_while_it_runs(toy: Toy, tmp_path: Path) -> None:
    search = toy.open(tmp_path)
    search.add(toy.bare_host(), label="host", seed=0, epochs=4)
    assert total(jobs_of_confirmation(config_of(), search)) == pytest.approx((3 + 1) * 2 * 6)
    assert jobs_of_confirmation(config_of(confirm={"top": 0}), search) == []
    confirm = Ledger.open(open_storage(tmp_path), "confirm", search.objectives)
    for seed in (1, 2):
        confirm.add(toy.bare_host(), label="host", seed=seed, epochs=6)
    number = toy.take(confirm).number
    assert total(jobs_of_confirmation(config_of(), search, confirm, {number: 5})) == pytest.approx(1 + 6)


def test_a_race_takes_between_its_first_seeds_and_its_budget() -> None:
    race = ConfirmConfig(top=4, seeds=2, max_seeds=5, epochs=6, controls=[])
    assert count_trainings(race, 2) == Times(12, (12 + 30) / 2, 30)
    assert count_trainings(race.model_copy(update={"budget": 20}), 2) == Times(12, 16, 20)


def test_controls_of_equal_cost_may_come_on_top() -> None:
    plain = ConfirmConfig(top=4, seeds=3, epochs=6, max_controls=5)
    assert count_trainings(plain, 2) == Times((4 + 2) * 3, (4 + 2 + 5) * 3, (4 + 2 + 5) * 3)


def test_workers_share_the_work_but_not_a_training(toy: Toy) -> None:
    bare = toy.bare_host()
    record = trained(toy.record(_proposal(bare)), 2)
    forecast = Forecast([(bare, record)])
    assert time_left([Job(bare, 3)] * 4, forecast, 2) == time_left([Job(bare, 6)] * 2, forecast, 2)
    alone = time_left([Job(bare, 3)], forecast, 4)
    assert alone is not None
    assert alone.value == pytest.approx(3 * 2.0)


def test_without_a_trial_the_time_is_unknown_and_with_ten_it_has_a_range(toy: Toy) -> None:
    bare = toy.bare_host()
    assert time_left([Job(bare, 3)], Forecast([]), 1) is None
    record = toy.record(_proposal(bare))
    forecast = Forecast([(bare, trained(record, 2, epoch_s=1 + n / 10)) for n in range(10)])
    found = time_left([Job(bare, 10, Times(1, 2, 3))], forecast, 1)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    # An epoch takes 1.0 to 1.9 s.
    assert 10 * 0.5 < found.low < 20 * 1.0 < found.value < 20 * 1.9 < found.high < 30 * 3.0


def _proposal(architecture: Architecture) -> Proposal:
    return Proposal(0, architecture, 0, 4, "proposal", None, 4)
