"""Ranks,  reference points and the choice of parents, against brute force and arithmetic."""

import numpy as np
import pytest

from nas.samplers.parents import choose_parents
from nas.samplers.ranking import Floats, crowding_by_rank, ranks
from nas.samplers.reference_points import associate, niching, normalise, reference_points


def peel(points: Floats) -> list[int]:
    """Return ranks by taking away one front after the other."""
    found, left, rank = [0] * len(points), set(range(len(points))), 0
    while left:
        front = {
            i for i in left if not any((points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in left)
        }
        for i in front:
            found[i] = rank
        left -= front
        rank += 1
    return found


@pytest.mark.parametrize("num_objectives", [1, 2, 4])
def test_ranks_are_the_fronts_that_are_left_when_earlier_ones_are_taken_away(num_objectives: int) -> None:
    points = np.random.default_rng(num_objectives).integers(5, size=(40, num_objectives)).astype(float)
    assert ranks(points, np.zeros(40)).tolist() == peel(points)


def test_a_lower_level_comes_first_whatever_the_values_and_values_are_compared_within_one() -> None:
    points = np.array([[9.0, 9], [0, 0], [1, 1], [5, 5], [8, 8]])
    # Finished: 9 and 8. Stopped late (a quarter was missing): 5. Stopped early (three quarters): 0, 1.
    levels = np.array([0.0, 0.75, 0.75, 0.25, 0.0])
    assert ranks(points, levels).tolist() == [1, 3, 4, 2, 0]


def test_crowding_is_the_distance_between_the_neighbours_and_infinite_at_the_ends() -> None:
    points = np.array([[0.0, 8], [1, 4], [3, 2], [4, 0]])
    expected = [np.inf, (3 - 0) / 4 + (8 - 2) / 8, (4 - 1) / 4 + (4 - 0) / 8, np.inf]
    assert crowding_by_rank(points, np.zeros(4, dtype=int)).tolist() == expected
    assert crowding_by_rank(np.array([[1.0, 2], [1, 2]]), np.zeros(2, dtype=int)).tolist() == [0, 0]


def test_crowding_counts_neighbours_of_the_same_rank_only() -> None:
    points, rank = np.random.default_rng(0).integers(9, size=(30, 3)).astype(float), np.arange(30) % 4
    expected = np.zeros(30)
    for each in range(4):
        here = rank == each
        expected[here] = crowding_by_rank(points[here], np.zeros(here.sum(), dtype=int))
    assert crowding_by_rank(points, rank).tolist() == expected.tolist()


def test_crowded_points_of_the_last_front_are_no_parents() -> None:
    front = [[0.0, 10], [5, 5], [5.1, 4.9], [10, 0]]
    points = np.array([*front, [11.0, 11]])
    parents = choose_parents(points, np.zeros(5), 3, "crowding", np.random.default_rng(0))
    # 5.1 has (10 - 5) / 10 twice, 5 has 5.1 / 10 twice.
    assert sorted(parents.tolist()) == [0, 1, 3]


@pytest.mark.parametrize(("num_objectives", "wanted", "num"), [(3, 10, 10), (3, 11, 15), (4, 20, 20), (1, 5, 1)])
def test_reference_points_are_all_multiples_that_add_up_to_one(num_objectives: int, wanted: int, num: int) -> None:
    points = reference_points(num_objectives, wanted)
    # n divisions of m objectives are binomial(n + m - 1, m - 1): 10 and 15 of three, 4, 10 and 20 of four.
    assert points.shape == (num, num_objectives)
    assert len(np.unique(points, axis=0)) == num
    assert points.sum(axis=1) == pytest.approx(1)
    assert (points >= 0).all()


def test_normalised_points_have_the_extreme_ones_on_the_unit_plane() -> None:
    extreme = np.array([[4.0, 1, 2], [1, 9, 2], [1, 1, 22]])
    scaled = normalise(np.vstack([extreme, [[2.0, 2, 3]]]))
    assert scaled[:3] == pytest.approx(np.eye(3))
    assert scaled[3] == pytest.approx([1 / 3, 1 / 8, 1 / 20])


def test_degenerate_points_are_scaled_by_their_largest_values() -> None:
    assert normalise(np.array([[1.0, 5], [3, 5]])).tolist() == [[0, 0], [1, 0]]


def test_a_point_belongs_to_the_reference_line_it_is_nearest_to() -> None:
    nearest, distance = associate(np.array([[2.0, 0.1], [1, 1], [0, 3]]), np.array([[1.0, 0], [0.5, 0.5], [0, 1]]))
    assert nearest.tolist() == [0, 1, 2]
    assert distance == pytest.approx([0.1, 0, 0], abs=1e-6)


def test_a_niche_without_members_is_served_first_and_by_the_nearest_point() -> None:
    # Two are kept, both of niche 0; the others are one more of niche 0, and two of niche 1.
    nearest, distance = np.array([0, 0, 0, 1, 1]), np.array([0.0, 0.0, 0.0, 0.3, 0.2])
    assert niching(nearest, distance, 2, 1, np.random.default_rng(0)) == [4]
    assert niching(nearest, distance, 2, 2, np.random.default_rng(0)) == [4, 3]
    assert sorted(niching(nearest, distance, 2, 9, np.random.default_rng(0))) == [2, 3, 4]


def test_reference_points_keep_the_spread_of_a_front_of_three_objectives() -> None:
    rng = np.random.default_rng(0)
    crowd = np.array([[0.34, 0.33, 0.33]]) + rng.normal(0, 1e-3, (40, 3))
    points = np.vstack([crowd, np.eye(3)])
    points /= points.sum(axis=1, keepdims=True)  # all on one front
    parents = choose_parents(points, np.zeros(43), 6, "reference points", np.random.default_rng(0))
    assert {40, 41, 42} <= set(parents.tolist())
    assert len(set(parents.tolist())) == 6
