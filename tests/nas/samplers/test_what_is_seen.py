"""What samplers see beside finished proposals: trials that were stopped early, and baselines."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_search import Toy

from nas.proposals.parameters import Draw
from nas.proposals.proposer import Proposer
from nas.samplers import make_sampler
from nas.samplers.sampler import RUNG_VALUES

DIRECTIONS = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
SITE_GENES = ["nsga2", "nsga3"]
FOUR = {"none": {}, "eca": {"kernel_size": [3, 5, 7]}}


def as_trial(draw: Draw, values: Sequence[float] | None = None, stopped: float | None = None) -> FrozenTrial:
    """Return the trial that a ledger would hold; `stopped` is the share of its epochs that it did not get."""
    constraint = {} if stopped is None else {"constraints:unfinished": stopped}
    return create_trial(
        state=TrialState.RUNNING if values is None else TrialState.COMPLETE,
        values=values,
        params=dict(draw.params),
        distributions=dict(draw.distributions),
        user_attrs={"indices": list(draw.indices)},
        system_attrs={**draw.system_attrs, **constraint},
    )


@pytest.mark.parametrize("name", [*SITE_GENES, "tpe"])
@pytest.mark.parametrize("followed_while_running", [True, False])
def test_trials_that_were_stopped_are_learnt_from_without_a_warning(
    toy: Toy, name: str, followed_while_running: bool
) -> None:
    sampler = make_sampler(name, toy.space, DIRECTIONS, 8)
    trials: list[FrozenTrial] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(40):
            sampler.follow(trials)
            draw = sampler.draw(seed)
            assert draw is not None
            if followed_while_running:
                sampler.follow([*trials, as_trial(draw)])
            wrong = sum(index != 1 for index in draw.indices)
            trials.append(as_trial(draw, (0.1 * wrong, wrong), stopped=None if seed % 3 else 0.5))
        sampler.follow(trials)
        restarted = make_sampler(name, toy.space, DIRECTIONS, 8)
        restarted.follow(trials)
        assert sampler.draw(99) == restarted.draw(99)


@pytest.mark.parametrize("name", SITE_GENES)
def test_what_was_stopped_is_no_parent_while_enough_is_finished(toy: Toy, name: str) -> None:
    sampler = make_sampler(name, toy.make_space([{"at": "*/branch", "modules": FOUR}]), DIRECTIONS, 4)
    trials: list[FrozenTrial] = []
    for number in range(
        30
    ):  # finished ones have option 1 everywhere but once, stopped ones option 2, and better values
        stopped = number % 3 > 0
        genes = [2 if stopped else 1] * 9
        genes[number % 9] = 0
        genes[(number // 9 + 1 + number) % 9] = 3
        sampler.follow(trials)
        values = (0.9, 1.0) if stopped else (0.1, 9.0)
        trials.append(as_trial(sampler.adopt(genes), values, stopped=0.5 if stopped else None))
    drawn: list[int] = []
    for seed in range(30):
        sampler.follow(trials)
        child = sampler.draw(seed)
        assert child is not None
        drawn += child.indices
        trials.append(as_trial(child))
    assert drawn.count(1) > 5 * drawn.count(2)


@pytest.mark.parametrize("name", SITE_GENES)
def test_what_rungs_tell_of_options_that_never_came_to_an_end_is_learnt(toy: Toy, name: str) -> None:
    sampler = make_sampler(name, toy.make_space([{"at": "*/branch", "modules": FOUR}]), DIRECTIONS, 4)
    rng = np.random.default_rng(0)
    trials: list[FrozenTrial] = []
    for number in range(60):  # option 3, where it stands, is best at the rung; of what finished only few have it
        finished = number % 3 == 0
        genes = rng.choice([0, 1, 2, 3], size=9, p=[0.3, 0.35, 0.3, 0.05] if finished else [0.2, 0.2, 0.2, 0.4])
        good = 0.1 * float((genes == 3).sum())
        rung = {2: (good, 1.0)}
        sampler.follow(trials)
        values = (0.5 + good, 1.0) if finished else rung[2]
        trial = as_trial(sampler.adopt(genes.tolist()), values, stopped=None if finished else 0.5)
        trial.user_attrs = {**trial.user_attrs, RUNG_VALUES: rung}
        trials.append(trial)
    drawn: list[int] = []
    for seed in range(10):
        sampler.follow(trials)
        child = sampler.draw(seed)
        assert child is not None
        drawn += child.indices
        trials.append(as_trial(child))
    assert drawn.count(3) > len(drawn) / 2


@pytest.mark.parametrize("name", SITE_GENES)
def test_the_second_generation_waits_for_the_baselines_and_has_them_for_parents(
    toy: Toy, tmp_path: Path, name: str
) -> None:
    space = toy.make_space([{"at": "*/branch", "modules": FOUR}])
    everywhere = (2,) * 9
    ledger = toy.open(tmp_path)
    number = ledger.add(space.decode(everywhere), label="eca everywhere", seed=0, epochs=2)
    proposer = Proposer(ledger, space, toy.plan(name, 60))
    baseline, *proposals = [proposer.next() for _ in range(9)]
    assert baseline is not None
    assert baseline.number == number
    for proposal in proposals:
        assert proposal is not None
        ledger.record(proposal.number, toy.record(proposal, failed=True))
    ledger.tell(in_order=True)
    assert proposer.next() is None  # the baseline's result is missing
    ledger.record(number, toy.record(baseline, accuracy=0.9))
    ledger.tell(in_order=True)
    agreeing = []
    for _ in range(8):
        child = proposer.next()
        assert child is not None
        indices = space.encode(child.architecture)
        assert indices is not None
        agreeing.append(sum(index == 2 for index in indices))
    # Nothing else has finished, so nothing is learnt: in each of three broods 1 / (1 - 0.4) = 1.7 of nine genes mutate
    # at most, on average. By chance 9 / 4 would agree.
    assert min(agreeing) < 9
    assert sum(agreeing) / len(agreeing) > 9 - 3 * 1.7


@pytest.mark.parametrize("name", SITE_GENES)
def test_baselines_outside_the_space_or_of_another_length_are_not_seen(toy: Toy, tmp_path: Path, name: str) -> None:
    space = toy.tiny_space()
    stories = []
    for others in (False, True):
        folder = tmp_path / str(others)
        ledger = toy.open(folder)
        if others:
            ledger.add(space.decode((1, 1, 1)), label="longer", seed=0, epochs=9)
            ledger.add(toy.space.decode((0, 0, 0, 1, 1)), label="outside", seed=0, epochs=2)
        stories.append(toy.story(toy.drive(folder, toy.plan(name, 24), space=space)))
    assert stories[0] == stories[1]
