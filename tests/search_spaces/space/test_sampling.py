"""Uniform draws under limits on made-up costs: costs below zero, and several spaces at once."""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces.space.sampling import Costs, LimitedSampler, UnionSampler

Indices = tuple[int, ...]


def rows(*decisions: Sequence[Sequence[int]]) -> list[Costs]:
    """Return the costs of decisions, each given as one list of options per limit."""
    return [np.array(decision, dtype=np.int64) for decision in decisions]


def within(costs: Sequence[Costs], most: Sequence[int]) -> list[Indices]:
    every = itertools.product(*(range(each.shape[1]) for each in costs))
    return [
        indices
        for indices in every
        if all(
            sum(int(each[row, index]) for each, index in zip(costs, indices, strict=True)) <= limit
            for row, limit in enumerate(most)
        )
    ]


# Option 1 takes away, option 2 adds, and in the last decision nothing is for free.
MIXED = rows([[0, -500, 40]], [[0, -80, 300]], [[0, -1000, 7]], [[20, 900, -300]])
TWO = rows([[0, -500, 40], [0, 3, 90]], [[0, -80, 300], [0, -2, 1]], [[0, 7, 9], [0, -40, 60]])


@pytest.mark.parametrize(
    ("costs", "most"),
    [(MIXED, [-1200]), (MIXED, [-500]), (MIXED, [0]), (MIXED, [100]), (MIXED, [5000]), (TWO, [0, 0]), (TWO, [-79, 5])],
)
def test_draws_are_uniform_where_modules_take_costs_away(costs: list[Costs], most: list[int]) -> None:
    legal = within(costs, most)
    sampler, rng = LimitedSampler(costs, most), np.random.default_rng(0)
    counts = Counter(sampler.draw(rng) for _ in range(40 * len(legal)))
    assert set(counts) <= set(legal)
    if len(legal) > 1:
        assert chisquare([counts[indices] for indices in legal]).pvalue > 0.01


def test_a_tight_limit_is_met_where_only_savings_meet_it() -> None:
    # 30 decisions; within the limit is what saves 10 at no fewer than 28 of them: 1 + 30 * 2 + 435 * 4 of 3^30.
    costs = rows(*[[[0, -10, 5]]] * 30)
    legal = {0: 1, 1: 30, 2: 435}
    sampler, rng = LimitedSampler(costs, [-280]), np.random.default_rng(1)
    drawn = [sampler.draw(rng) for _ in range(600)]
    missing = Counter(sum(index != 1 for index in indices) for indices in drawn if indices)
    assert missing.total() == 600
    # Of two that do not save, both must be free; of one, it may cost 5: -290 + 5 is still below -280.
    expected = {0: legal[0], 1: legal[1] * 2, 2: legal[2]}
    total = sum(expected.values())
    counts = [missing[number] for number in (0, 1, 2)]
    assert chisquare(counts, [600 * expected[number] / total for number in (0, 1, 2)]).pvalue > 0.01


def test_the_number_of_proposals_is_that_of_all_within_over_the_share_accepted() -> None:
    for most in ([-1200], [0], [300]):
        sampler, rng = LimitedSampler(MIXED, most), np.random.default_rng(2)
        # Each batch of one proposal is accepted with the probability N / M.
        accepted = sum(sampler.first_of(rng, 1) is not None for _ in range(4000)) / 4000
        expected = len(within(MIXED, most)) / np.exp(sampler.log_num_proposals)
        assert accepted == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9)


SPACES: list[tuple[list[Costs], list[int]]] = [
    (rows([[0, 3, 9]], [[0, 3, 9]]), [9]),
    (rows([[0, 3, 9]], [[0, 3, 9]], [[0, 1]], [[0, 1]]), [4]),
    (rows([[0, -7]]), [-7]),
    ([], [0]),
]


def test_draws_from_several_spaces_are_uniform_over_all_that_is_within_limits() -> None:
    legal = [(number, indices) for number, space in enumerate(SPACES) for indices in within(*space)]
    # Of 9 pairs all but (3, 9), (9, 3), (9, 9); sums of 0 with any of 4, of 3 with 3 of 4 in two ways; what saves; all.
    assert [sum(number == n for n, _ in legal) for number in range(4)] == [6, 4 + 2 * 3, 1, 1]
    sampler = UnionSampler([LimitedSampler(*space) for space in SPACES])
    rng = np.random.default_rng(3)
    counts = Counter(sampler.draw(rng) for _ in range(60 * len(legal)))
    assert set(counts) == set(legal)
    assert chisquare([counts[each] for each in legal]).pvalue > 0.01


def test_draws_from_several_spaces_without_limits_are_in_proportion_to_their_sizes() -> None:
    free = [rows(*[np.zeros((0, n))] * k) for n, k in ((3, 1), (3, 2), (2, 3))]
    sampler, rng = UnionSampler([LimitedSampler(costs, []) for costs in free]), np.random.default_rng(4)
    counts = Counter(sampler.draw(rng) for _ in range(60 * (3 + 9 + 8)))
    assert len(counts) == 3 + 9 + 8
    assert chisquare([*counts.values()]).pvalue > 0.01


def test_what_is_refused_for_another_reason_leaves_the_others_uniform_over_all_spaces() -> None:
    refused = {(0, 0), (1, 0)}
    samplers = [LimitedSampler(*SPACES[0], refused.__contains__), LimitedSampler(*SPACES[1])]
    legal = [(0, indices) for indices in within(*SPACES[0]) if indices not in refused]
    legal += [(1, indices) for indices in within(*SPACES[1])]
    sampler, rng = UnionSampler(samplers), np.random.default_rng(5)
    counts = Counter(sampler.draw(rng) for _ in range(60 * len(legal)))
    assert set(counts) == set(legal)
    assert chisquare([counts[each] for each in legal]).pvalue > 0.01


def test_nothing_is_drawn_where_nothing_is_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.space.sampling.MAX_DRAWS", 2000)
    none = LimitedSampler(rows([[5, 7]], [[-2, 0]]), [2])
    assert none.draw(np.random.default_rng(0)) is None
    assert UnionSampler([none, none]).draw(np.random.default_rng(0)) is None
