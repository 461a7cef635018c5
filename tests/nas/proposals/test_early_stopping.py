"""Early stopping: who goes on, in whatever order results come, and what a stopped trial is afterwards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_search import Toy

from nas.confirm.lineup import choose
from nas.proposals.early_stopping import EarlyStopping, Rule
from nas.proposals.expectation import Expectation
from nas.proposals.parameters import Draw
from nas.proposals.proposer import Proposer
from nas.samplers import SAMPLERS
from nas.study.journal import open_storage
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Counts, record_of, rung_results, state_of
from search_spaces import Architecture

RUNGS = (1, 3)
EVERY = pytest.mark.parametrize("name", list(SAMPLERS))


def pause(ledger: Ledger, toy: Toy, accuracies: list[float], *, batch: int = 0) -> list[int]:
    """Bring so many proposals of a batch to the rung at epoch 1 of 9, with these accuracies and equal costs."""
    first = len(ledger.trials())
    numbers = []
    for i in range(len(accuracies)):
        indices = ((first + i) % 5, (first + i) // 5, 0, 0, 0)
        draw = Draw(indices, {}, {})
        architecture = toy.space.decode(indices)
        numbers.append(
            ledger.propose(architecture, draw, seed=0, epochs=9, batch=(batch, len(accuracies)), rungs=RUNGS)
        )
    for _ in numbers:
        proposal = toy.take(ledger)
        record = toy.record(proposal, accuracy=accuracies[proposal.number - first])
        ledger.record(proposal.number, record)
    return numbers


def rule(*, let_live: float = 0.0, in_order: bool = True, reduction_factor: float = 3.0) -> Rule:
    return Rule(RUNGS, reduction_factor, let_live, 0, in_order)


def make(toy: Toy, ledger: Ledger, rule: Rule, whole: Sequence[FrozenTrial] = ()) -> EarlyStopping:
    """Return an early stopping that may read `whole`, which came to its end."""
    return EarlyStopping(ledger, rule, Expectation(ledger, toy.space, lambda _: whole))


def at_its_end(indices: tuple[int, ...], accuracy: float) -> FrozenTrial:
    return create_trial(values=[accuracy], user_attrs={"indices": list(indices)})


def test_a_third_of_a_batch_goes_on_and_the_rest_is_told_with_what_it_has(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ["accuracy"])
    pause(ledger, toy, [0.1, 0.6, 0.3, 0.5, 0.2, 0.4])
    assert ledger.counts() == Counts(paused=6)
    stopped = make(toy, ledger, rule()).decide()
    assert stopped == [0, 2, 4, 5]
    assert ledger.tell(in_order=False) == stopped
    assert ledger.counts() == Counts(stopped=4, waiting=2)
    assert ledger.counts().trained == 4
    trial = ledger.trials()[4]
    record = record_of(trial)
    assert record is not None
    assert (trial.state, trial.values, record.epochs) == (TrialState.COMPLETE, [0.2], 1)
    assert trial.constraints == {"unfinished": pytest.approx(1 - 1 / 9)}
    following = toy.take(ledger)
    assert (following.number, following.target, following.epochs) == (1, 3, 9)


def test_rank_counts_costs_too(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    numbers = pause(ledger, toy, [0.5] * 9)
    costs = [rung_results(t)[1]["macs"] for t in ledger.trials()]
    stopped = make(toy, ledger, rule()).decide()
    # Of equal accuracy, the three cheapest of nine.
    assert set(numbers) - set(stopped) == set(np.argsort(costs)[:3].tolist())


def test_a_batch_is_judged_when_all_of_it_is_there(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ["accuracy"])
    draws = [Draw((i, 0, 0, 0, 0), {}, {}) for i in range(3)]
    for draw in draws:
        ledger.propose(toy.space.decode(draw.indices), draw, seed=0, epochs=9, batch=(0, 3), rungs=RUNGS)
    stopping, at_once = make(toy, ledger, rule()), make(toy, ledger, rule(in_order=False))
    first, second, third = (toy.take(ledger) for _ in draws)
    ledger.record(third.number, toy.record(third, accuracy=0.9))
    ledger.record(first.number, toy.record(first, accuracy=0.1))
    assert stopping.decide() == []
    assert ledger.counts() == Counts(running=1, paused=2)
    ledger.record(second.number, toy.record(second, failed=True))  # a failure is no reason to wait
    assert at_once.decide() == [0]  # the better one of two stays


def test_what_goes_on_is_best_by_its_expected_end_where_rungs_disagree_with_ends(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ["accuracy"])
    # At the rung the first decision's option counts down; at the end it counts up.
    pause(ledger, toy, [0.9 - 0.1 * (i % 5) for i in range(15)])
    ends = [at_its_end((first, second, 0, 0, 0), 0.2 * first) for first in range(5) for second in range(3)]
    stopped = make(toy, ledger, rule(), ends).decide()
    assert {number % 5 for number in set(range(15)) - set(stopped)} == {3, 4}


def test_luck_at_a_rung_is_not_believed_against_all_the_others(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ["accuracy"])
    accuracies = [0.1 * (i % 5) for i in range(15)]
    accuracies[5] = 0.35  # the first decision's worst option, which gave 0 twice
    pause(ledger, toy, accuracies)
    ends = [at_its_end((first, second, 0, 0, 0), 0.5 + 0.1 * first) for first in range(5) for second in range(3)]
    stopped = make(toy, ledger, rule(), ends).decide()
    assert 5 in stopped


def test_later_batches_are_judged_among_the_earlier_ones(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ["accuracy"])
    pause(ledger, toy, [0.7, 0.8, 0.9])
    stopping = make(toy, ledger, rule())
    assert stopping.decide() == [0, 1]
    ledger.tell(in_order=False)
    best = toy.take(ledger)
    ledger.record(best.number, toy.record(best, accuracy=0.9))
    pause(ledger, toy, [0.1, 0.2, 0.3], batch=1)
    # Of six, two may go on: 0.9 and 0.8, and the latter is gone.
    assert stopping.decide() == [3, 4, 5]


def test_some_are_let_live_to_their_end_and_known_by_it(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path, ["accuracy"])
    pause(ledger, toy, [0.9, 0.1, 0.2])
    stopping = make(toy, ledger, rule(let_live=0.999))
    assert stopping.decide() == []
    while (proposal := ledger.take()) is not None:
        ledger.record(proposal.number, toy.record(proposal, accuracy=0.5 if proposal.number else 0.9))
        stopping.decide()
    ledger.tell(in_order=False)
    assert ledger.counts() == Counts(complete=3)
    assert [t.user_attrs.get("spared") for t in ledger.trials()] == [None, 1, 1]


@EVERY
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_trials_asked_for_are_trained_or_stopped_and_no_rung_twice(
    toy: Toy, tmp_path: Path, name: str, deterministic: bool
) -> None:
    ledger = toy.drive(tmp_path, toy.plan(name, 30, deterministic=deterministic, rungs=RUNGS), workers=3)
    counts = ledger.counts()
    assert counts.trained == 30
    assert counts.unfinished == 0
    assert counts.stopped > counts.complete > 0
    trained = (tmp_path / "trained").read_text().splitlines()
    assert len(trained) == len(set(trained))


@EVERY
def test_the_order_in_which_workers_finish_does_not_matter(toy: Toy, tmp_path: Path, name: str) -> None:
    plan = toy.plan(name, 24, seed=5, rungs=RUNGS)
    stories = [
        toy.story(toy.drive(tmp_path / str(workers), plan, workers=workers, hurry=workers)) for workers in (1, 2, 5)
    ]
    assert all(story == stories[0] for story in stories)


def test_a_space_that_ends_in_the_middle_of_a_batch_is_searched_to_its_end(toy: Toy, tmp_path: Path) -> None:
    space, plan = toy.tiny_space({"sites": 3}), toy.plan("nsga2", 1000, rungs=RUNGS)
    ledger = toy.drive(tmp_path, plan, space=space)
    assert Proposer(ledger, space, plan).exhausted
    assert ledger.counts().unfinished == 0


def test_a_stopped_trial_is_on_no_front_of_ours_or_optunas_and_never_confirmed(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.drive(tmp_path, toy.plan("random", 30, rungs=RUNGS))
    stopped = {t.number for t in ledger.trials() if state_of(t) == "stopped"}
    assert stopped
    assert not stopped & {t.number for t in choose(ledger, 1000)}
    study = optuna.load_study(study_name="search", storage=open_storage(tmp_path))
    assert not stopped & {t.number for t in study.best_trials}


def test_a_rung_that_fails_ends_its_trial(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    architecture: Architecture = toy.bare_host()
    ledger.propose(architecture, Draw((0, 0, 0, 0, 0), {}, {}), seed=0, epochs=9, batch=(0, 1), rungs=RUNGS)
    ledger.record(0, toy.record(toy.take(ledger), failed=True))
    ledger.tell(in_order=True)
    assert ledger.counts() == Counts(failed=1)


def test_a_deterministic_decision_reads_only_results_that_its_batch_waited_for(toy: Toy, tmp_path: Path) -> None:
    def read(name: str, *, deterministic: bool, batch: int) -> set[int]:
        plan = toy.plan(name, 24, deterministic=deterministic, rungs=RUNGS)
        folder = tmp_path / f"{name} {deterministic}"
        ledger = toy.open(folder) if folder.exists() else toy.drive(folder, plan)
        found = Proposer(ledger, toy.space, plan).results_before(batch)
        assert all(t.state == TrialState.COMPLETE and "stopped" not in t.user_attrs for t in found)
        return {t.user_attrs.get("batch", [-1])[0] for t in found}  # -1: the bare host, a baseline

    assert read("nsga2", deterministic=True, batch=0) == set()
    assert read("nsga2", deterministic=True, batch=2) == {-1, 0, 1}
    assert read("tpe", deterministic=True, batch=2) == {0, 1}  # it is shown no baselines, and waits for none
    assert read("random", deterministic=True, batch=20) == set()  # nothing waits
    assert max(read("nsga2", deterministic=False, batch=0)) > 2
