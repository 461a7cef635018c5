"""Few values to be predicted, and many others of the same placements that may agree with them."""

import numpy as np
import pytest

from reports.objectives import Floats
from reports.statistics.joint_regression import AGREEMENTS, JointAxes, JointRegression
from reports.statistics.regression import Regression

WEIGHTS = np.array([1.0, 0.5, 0.0, -0.5, -1.0, 1.0, -1.0, 0.5])


def drawn(num: int, seed: int) -> Floats:
    return np.random.default_rng(seed).integers(2, size=(num, len(WEIGHTS))).astype(float)


def fit(others_weights: Floats, *, noise: float = 0.5) -> tuple[Floats, Floats, JointRegression]:
    """Return ten points with their values, and what is learnt from them and from 200 others of other size and place."""
    rng = np.random.default_rng(0)
    wanted, others = drawn(10, 1), drawn(200, 2)
    values = 3 + wanted @ WEIGHTS + rng.normal(0, noise, 10)
    told = 70 + 5 * (others @ others_weights + rng.normal(0, noise, 200))
    return wanted, values, JointRegression(JointAxes(wanted, [others]), values, [told])


def test_others_that_agree_make_predictions_better_whatever_their_size_and_place() -> None:
    wanted, values, joint = fit(WEIGHTS)
    unseen = drawn(100, 3)
    truth = 3 + unseen @ WEIGHTS
    alone = ((Regression(wanted, values).predict(unseen) - truth) ** 2).mean()
    assert ((joint.predict(unseen) - truth) ** 2).mean() < alone / 3
    assert joint.probability @ AGREEMENTS > 0.8


def test_others_that_contradict_are_not_believed() -> None:
    _, _, joint = fit(-WEIGHTS, noise=0.1)
    unseen = drawn(100, 3)
    truth = 3 + unseen @ WEIGHTS
    assert joint.probability[0] == joint.probability.max()
    # Believed, they would miss by twice the truth's deviation: four times its variance.
    assert ((joint.predict(unseen) - truth) ** 2).mean() < truth.var() / 10


def test_drawn_functions_scatter_around_what_is_expected() -> None:
    _, _, joint = fit(WEIGHTS)
    unseen, rng = drawn(20, 3), np.random.default_rng(0)
    found = np.array([joint.draw(rng)(unseen) for _ in range(500)])
    assert found.std(axis=0).min() > 0
    assert np.abs(found.mean(axis=0) - joint.predict(unseen)).max() < 5 * found.std() / 500**0.5


@pytest.mark.parametrize("sets", [1, 2])
def test_values_that_agree_among_themselves_are_predicted_to_stay(sets: int) -> None:
    points = np.eye(3)
    joint = JointRegression(JointAxes(points, [points] * sets), np.full(3, 2.0), [np.full(3, 1.0)] * sets)
    assert joint.predict(np.ones((1, 3))) == pytest.approx([2.0])
