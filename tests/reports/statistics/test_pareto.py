import math

import numpy as np
import pytest

from reports import hypervolume, hypervolume_history, knee, nondominated
from reports.statistics.pareto import Box, order_by_rank, reference_point


def brute_force(points: np.ndarray) -> list[bool]:
    return [not any((other <= point).all() and (other < point).any() for other in points) for point in points]


@pytest.mark.parametrize("num_objectives", range(1, 7))
def test_the_front_is_what_comparing_all_pairs_finds(num_objectives: int) -> None:
    rng = np.random.default_rng(num_objectives)
    for size in (1, 2, 40):
        points = rng.integers(0, 5, (size, num_objectives)).astype(float)  # few values: many ties and duplicates
        assert nondominated(points).tolist() == brute_force(points)


def test_the_order_by_rank_peels_off_front_after_front() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 6, (40, 3)).astype(float)
    order, left = order_by_rank(points).tolist(), list(range(40))
    while left:
        front = [i for i, on_front in zip(left, brute_force(points[left]), strict=True) if on_front]
        assert set(order[: len(front)]) == set(front)
        order, left = order[len(front) :], [i for i in left if i not in front]


def test_within_a_rank_the_ends_come_first_and_then_what_stands_alone() -> None:
    # Gaps between neighbours, of a range of 10 each way: (1, 8): 3 + 3, (3, 7): 4 + 4 of ten, (5, 4): 7 + 7.
    points = [[1, 8], [3, 7], [0, 10], [5, 4], [10, 0], [math.nan, 0]]
    assert order_by_rank(points).tolist() == [2, 4, 3, 1, 0, 5]


def test_no_points_have_no_order() -> None:
    assert order_by_rank(np.empty((0, 2))).tolist() == []


def test_equal_points_are_all_on_the_front() -> None:
    assert nondominated([[1, 2], [1, 2], [2, 2]]).tolist() == [True, True, False]


def test_points_that_are_not_finite_are_never_on_the_front_and_dominate_nothing() -> None:
    points = [[math.nan, 0], [-math.inf, -math.inf], [1, 1]]
    assert nondominated(points).tolist() == [False, False, True]


def test_no_points_have_an_empty_front() -> None:
    assert nondominated(np.empty((0, 2))).tolist() == []


def test_points_need_two_dimensions() -> None:
    with pytest.raises(ValueError, match="shape"):
        nondominated([1.0, 2.0])


def test_the_hypervolume_of_two_objectives_is_a_sum_of_rectangles() -> None:
    points = [[1, 3], [2, 1], [3, 3], [2, 1]]  # the third is dominated, the last a duplicate
    assert hypervolume(points, [4, 4]) == pytest.approx((2 - 1) * (4 - 3) + (4 - 2) * (4 - 1))


def test_points_beyond_the_reference_and_not_finite_add_no_volume() -> None:
    assert hypervolume([[5, 0], [math.nan, 0], [0, 4]], [4, 4]) == 0
    assert hypervolume(np.empty((0, 3)), [1, 1, 1]) == 0


def test_a_reference_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold 2 objectives"):
        hypervolume([[1, 2]], [1, 2, 3])


def test_the_reference_lies_a_tenth_of_the_range_behind_the_worst() -> None:
    assert reference_point([[0, 5], [10, 5], [math.nan, 99]]).tolist() == [11, 6]


def test_the_history_is_the_hypervolume_of_each_prefix_in_the_unit_box() -> None:
    points = np.random.default_rng(0).random((30, 3))
    best, corner = points.min(axis=0), reference_point(points)
    scaled = (points - best) / (corner - best)
    expected = [hypervolume(scaled[: i + 1], [1, 1, 1]) for i in range(len(points))]
    found = hypervolume_history(points)
    assert found == pytest.approx(expected)
    assert (np.diff(found) >= 0).all()


def test_the_history_waits_while_points_are_not_finite() -> None:
    found = hypervolume_history([[math.nan, 1], [1, 1], [math.inf, 0]])
    assert found.tolist() == [0, 1, 1]  # the only finite point is the best in everything
    assert hypervolume_history([[math.nan]]).tolist() == [0]
    assert hypervolume_history(np.empty((0, 2))).tolist() == []


def test_the_knee_lies_furthest_below_the_line_between_the_ends() -> None:
    # Scaled to [0, 1], the line between the ends is x + y = 1; (1, 2) of (0..10, 0..10) lies at 0.1 + 0.2.
    points = [[0, 10], [1, 2], [4, 1], [10, 0], [9, 9]]
    assert knee(points) == 1


def test_a_constant_objective_does_not_move_the_knee() -> None:
    points = np.array([[0, 10, 7], [1, 2, 7], [10, 0, 7]])
    assert knee(points) == knee(points[:, :2]) == 1


def test_ties_for_the_knee_go_to_the_first_and_one_point_is_its_own_knee() -> None:
    assert knee([[0, 1], [1, 0]]) == 0
    assert knee([[math.nan, 0], [3, 4]]) == 1


def test_there_is_no_knee_without_a_finite_point() -> None:
    with pytest.raises(ValueError, match="no knee"):
        knee([[math.nan, 1]])


def test_growth_in_a_box_of_one_s_own_is_a_share_of_that_box() -> None:
    # Of the box from (0, 0) to (2, 2): (1, 1) dominates a quarter, and (-1, 1) three quarters.
    box = Box(np.zeros(2), np.full(2, 2.0))
    assert hypervolume_history([[1, 1], [np.nan, 0], [-1, 1]], box) == pytest.approx([0.25, 0.25, 0.75])
