"""Bayesian linear regression whose noise is not known: what could be true of a noisy objective, given what was trained.

The evidence of Bishop, 2006, "Pattern Recognition and Machine Learning", section 3.5, over a grid of the noise's share;
departing from it, a share is drawn by its evidence instead of the best taken, since from few points the best is often
no noise at all, and what was merely lucky would be believed.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from reports.objectives import Floats

Ints = npt.NDArray[np.int64]

Generator = np.random.Generator
Predict = Callable[[Floats], Floats]
"""From (placements, features) to (placements,)."""

NOISE_RATIOS = 10.0 ** np.arange(-5.0, 2.1, 0.5)
"""The noise's variance over that of what the features explain: from costs, which are exact, to hardly any signal."""
_LEAST = 1e-12


class Axes:
    """The principal axes of points: nearly all the time of a regression, the same for all that is regressed on them.

    Args:
        features: (points, features), not empty.
        gram: the products of the features about their means, (features, features), if they are known already.
    """

    def __init__(self, features: Floats, gram: Floats | None = None) -> None:
        self.centre = features.mean(axis=0)
        self._centred = features - self.centre
        self.squares, self.axes = _principal_axes(self._centred, gram)

    def along(self, target: Floats) -> Floats:
        """Return what of a target, (points,), lies along each axis."""
        found: Floats = self.axes @ (self._centred.T @ target)
        return found


class Regression:
    """What is believed of one objective: its values are a constant, a sum over features with normal weights, and noise.

    Args:
        features: (points, features), not empty, or their axes.
        values: (points,), finite.
        ratios: which shares of noise there may be.
    """

    def __init__(self, features: Floats | Axes, values: Floats, ratios: Floats = NOISE_RATIOS) -> None:
        axes = features if isinstance(features, Axes) else Axes(features)
        num = self._num = len(values)
        self._centre, self._squares, self._axes = axes.centre, axes.squares, axes.axes
        self._mean, self._spread = float(values.mean()), float(values.std())
        target = (values - self._mean) / (self._spread or 1.0)
        self._along = axes.along(target)
        scale = float(self._squares.sum()) / num or 1.0
        self._penalties = ratios * scale
        # The part of the target that no feature reaches, and along each axis the part that is not noise's.
        explained = self._along**2 / np.maximum(self._squares, _LEAST)
        rest = max(float(target @ target - explained.sum()), 0.0)
        stretch = self._squares / self._penalties[:, None] + 1
        self._noise = np.maximum((explained / stretch).sum(axis=1) + rest, _LEAST) / max(num - 1, 1)
        evidence = -0.5 * ((num - 1) * np.log(self._noise) + np.log(stretch).sum(axis=1))
        self.log_evidence = float(np.logaddexp.reduce(evidence))
        """Of the values, summed over the shares of noise; to be compared among regressions of the same values."""
        likelihood = np.exp(evidence - evidence.max())
        self._probability = likelihood / likelihood.sum()

    def draw(self, generator: Generator) -> Predict:
        """Draw one function from all that could be true; where nothing is known it is drawn from the prior.

        Objectives in which all points agree are predicted to stay as they are.
        """
        weights = self.draw_weights(generator)
        constant = self._mean - self._centre @ weights
        return lambda features: features @ weights + constant

    def draw_weights(self, generator: Generator) -> Floats:
        """Draw the weights of such a function, (features,), in the values' units."""
        which = int(generator.choice(len(self._probability), p=self._probability))
        penalty, noise = self._penalties[which], self._noise[which]
        free = generator.normal(size=len(self._centre))
        along = self._axes @ free
        curvature = self._squares + penalty
        known = self._along / curvature + np.sqrt(noise / curvature) * along
        drawn = self._axes.T @ known + np.sqrt(noise / penalty) * (free - self._axes.T @ along)
        weights: Floats = drawn * self._spread
        return weights

    @property
    def weights(self) -> Floats:
        """What is expected of the weights, (features,), in the values' units."""
        shrunk = self._probability @ (self._along / (self._squares + self._penalties[:, None]))
        weights: Floats = self._axes.T @ shrunk * self._spread
        return weights

    def predict(self, features: Floats) -> Floats:
        """Return what is expected of points, (points, features)."""
        expected: Floats = (features - self._centre) @ self.weights + self._mean
        return expected

    def draw_effects(self, contrasts: Floats, generator: Generator, num: int) -> Floats:
        """Draw sums of weights, (num, contrasts), from all that could be true; the noise's variance is drawn too.

        Args:
            contrasts: (contrasts, features), what each weight counts in a sum.
            generator: draws.
            num: how many.
        """
        drawn = np.empty((num, len(contrasts)))
        known = contrasts @ self._axes.T
        counts = generator.multinomial(num, self._probability)
        first, degrees = 0, max(self._num - 1, 1)
        for which in np.flatnonzero(counts):
            rows = slice(first, first := first + int(counts[which]))
            size = int(counts[which])
            noise = np.sqrt(self._noise[which] * degrees / generator.chisquare(degrees, size))[:, None]
            curvature = self._squares + self._penalties[which]
            free = generator.normal(size=(size, contrasts.shape[1]))
            along = free @ self._axes.T
            unseen = free @ contrasts.T - along @ known.T  # what no point tells of: as the prior has it
            told = self._along / curvature + noise * along / np.sqrt(curvature)
            drawn[rows] = told @ known.T + noise / np.sqrt(self._penalties[which]) * unseen
        return drawn * self._spread


def grams_without(features: Floats, fold: Ints) -> list[Floats]:
    """Return, for each number from 0 on in `fold`, the Gram matrix of `Axes` of the points that do not have it.

    Args:
        features: (points, features).
        fold: (points,), each number somewhere.
    """
    centred = features - features.mean(axis=0)
    parts = [centred[fold == k] for k in range(int(fold.max()) + 1)]
    grams = [part.T @ part for part in parts]
    whole = np.sum(grams, axis=0)
    found = []
    for part, gram in zip(parts, grams, strict=True):
        num = len(centred) - len(part)
        moved = part.sum(axis=0) / max(num, 1)  # against the mean of the others, since all together have none
        found.append(whole - gram - num * np.outer(moved, moved))
    return found


def _principal_axes(centred: Floats, gram: Floats | None = None) -> tuple[Floats, Floats]:
    """Return squared singular values, (axes,), and right singular vectors, (axes, features), without the zeros.

    By the smaller of the two Gram matrices, which takes a third of the time of a singular value decomposition.
    """
    num, num_features = centred.shape
    by_points = gram is None and num <= num_features
    if gram is None:
        gram = centred @ centred.T if by_points else centred.T @ centred
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > max(1e-9 * squares[-1], _LEAST)
    squares, vectors = squares[kept], vectors[:, kept]
    axes = (vectors.T @ centred) / np.sqrt(squares)[:, None] if by_points else vectors.T
    return squares, axes
