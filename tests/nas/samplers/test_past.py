"""What an evolution knows of its past does not depend on when it was told."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.experiment import load_space
from nas.samplers.genes import GenePool
from nas.samplers.past import Past
from nas.samplers.sampler import RUNG_VALUES

ENDS = [(2, "COMPLETE"), (0, "FAIL"), (5, "COMPLETE"), (1, "COMPLETE"), (4, "COMPLETE")]
"""Which trial ends when, and how; the third never does."""


@pytest.fixture(scope="module")
def pool() -> GenePool:
    return GenePool(load_space("digits-gates"))


def trial(pool: GenePool, number: int, state: str) -> FrozenTrial:
    """Return a trial whose genes differ from the others'; the fifth breaks a constraint by a half."""
    counts = [len(decision.options) for decision in pool.space.decisions]
    genes = {name: number % count for name, count in zip(pool.names, counts, strict=True) if count > 1}
    made = create_trial(
        state=TrialState[state],
        values=[number / 10, 1 - number] if state == "COMPLETE" else None,
        params=genes,
        distributions={n: CategoricalDistribution(range(counts[pool.names.index(n)])) for n in genes},
        user_attrs={"role": "baseline"} if number == 1 else {},
    )
    if number == 4:
        made.set_constraint("unfinished", 0.5)
    if number in (0, 1, 4):
        reached = {2: (number, -number), 6: (9, 9)} if number == 1 else {2: (number, -number)}
        made.user_attrs = {**made.user_attrs, RUNG_VALUES: reached}
    made.number = number
    return made


def test_told_step_by_step_it_holds_what_it_holds_when_told_at_once(pool: GenePool) -> None:
    trials: list[FrozenTrial] = []
    gradual = Past(pool)
    for number in range(6):
        trials.append(trial(pool, number, "RUNNING"))
        gradual.follow(trials)
    for number, state in ENDS:
        trials[number] = trial(pool, number, state)
        gradual.follow(trials)
    at_once = Past(pool)
    at_once.follow(trials)
    for past in (gradual, at_once):
        assert past.values is not None
        np.testing.assert_array_equal(past.values, [[n / 10, 1 - n] for n in (1, 2, 4, 5)])
        assert past.levels.tolist() == [0, 0, 0.5, 0]
        assert (past.num_proposals, past.num_finished_proposals) == (5, 4)
        (at_two, values), (at_six, _) = past.shorter(most=9)  # the first trial failed
        assert at_two == [past.genes[0], past.genes[2]]
        assert values.tolist() == [[1, -1], [4, -4]]
        assert at_six == [past.genes[0]]
        assert past.shorter(most=1)[0][0] == [past.genes[2]]
    assert gradual.genes == at_once.genes
    assert gradual.known == at_once.known


def test_its_genes_are_the_trials_in_the_order_of_the_space(pool: GenePool) -> None:
    past = Past(pool)
    past.follow([trial(pool, number, "COMPLETE") for number in range(3)])
    expected = [tuple(n % len(d.options) for d in pool.space.decisions) for n in range(3)]
    assert past.genes == expected
    assert past.known == {pool.space.normal(genes) for genes in expected}
