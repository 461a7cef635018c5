import numpy as np
import pytest

from reports.statistics.regression import Regression, grams_without


def test_exact_sums_give_their_weights_and_predictions() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(2, size=(80, 6)).astype(float)
    weights = rng.normal(size=6)
    fitted = Regression(features, 3 + features @ weights)
    assert fitted.weights == pytest.approx(weights, abs=0.01)
    others = rng.integers(2, size=(20, 6)).astype(float)
    assert fitted.predict(others) == pytest.approx(3 + others @ weights, abs=0.05)


def test_drawn_sums_of_weights_scatter_around_what_is_expected() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    fitted = Regression(features, features @ np.array([1.0, 0.0, -1.0, 0.5]) + rng.normal(0, 0.5, 60))
    contrasts = np.array([[1.0, 0, 0, 0], [0.5, 0, 0.5, 0]])
    drawn = fitted.draw_effects(contrasts, rng, 4000)
    assert drawn.shape == (4000, 2)
    assert drawn.mean(axis=0) == pytest.approx(contrasts @ fitted.weights, abs=0.02)
    # Ordinary least squares has a standard error of 0.5 / sqrt(60) for each weight; the second is a mean of two.
    assert drawn.std(axis=0) == pytest.approx([0.5 / 60**0.5, 0.5 / 120**0.5], rel=0.25)


def test_what_no_point_tells_of_is_as_wide_as_the_prior() -> None:
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(40, 3))
    features = np.hstack([seen, np.zeros((40, 1))])
    drawn = Regression(features, seen @ np.ones(3) + rng.normal(0, 0.1, 40)).draw_effects(np.eye(4), rng, 2000)
    assert np.median(drawn[:, 3]) == pytest.approx(0.0, abs=0.2)
    assert drawn[:, 3].std() > 5 * drawn[:, 0].std()


def test_products_without_one_part_are_those_of_the_other_points() -> None:
    rng = np.random.default_rng(4)
    features, fold = rng.normal(3.0, 1.0, (40, 5)), rng.permutation(40) % 3
    for k, gram in enumerate(grams_without(features, fold)):
        others = features[fold != k] - features[fold != k].mean(axis=0)
        np.testing.assert_allclose(gram, others.T @ others, rtol=1e-10, atol=1e-10)
