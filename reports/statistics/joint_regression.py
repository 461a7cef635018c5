"""Regression of values of which there are few, helped by other values of the same things that may agree with them.

Coregionalisation of two tasks (Bonilla, Chai and Williams, 2007, "Multi-task Gaussian process prediction") in the
linear model of `reports.statistics.regression`: with weights u of the other values, those of the wanted ones are c u +
sqrt(1 - c^2) v. The agreement c is drawn by its evidence from a grid that begins at 0, where the others tell nothing;
departing from the paper, it is not negative. Each set of values has a constant of its own, and is scaled by its spread
per spread of its features, so that what is of use is the order and not the size of the others. Noise is taken for as
large in all sets.
"""

from collections.abc import Sequence

import numpy as np

from reports.objectives import Floats
from reports.statistics.regression import Axes, Generator, Predict, Regression

AGREEMENTS = np.array([0.0, 0.5, 0.8, 1.0])


class JointAxes:
    """The axes of both kinds together under each agreement: nearly all the time, the same for all that is regressed.

    Args:
        wanted: (points, features), not empty, of the values to be predicted.
        others: the same for each set of other values.
    """

    def __init__(self, wanted: Floats, others: Sequence[Floats]) -> None:
        self.centre = wanted.mean(axis=0)
        centred = [features - features.mean(axis=0) for features in (*others, wanted)]
        self.sizes = [float(np.square(features).sum()) for features in centred]
        *_, own = centred
        rest = np.vstack([*centred[:-1], own[:0]])
        rest = np.hstack([rest, np.zeros_like(rest)])
        self.axes = [
            Axes(np.vstack([rest, np.hstack([agreement * own, np.sqrt(1 - agreement**2) * own])]))
            for agreement in AGREEMENTS
        ]


class JointRegression:
    """What is believed of one objective, given the values to be predicted and others.

    Args:
        axes: of both.
        wanted: (points,), finite.
        others: (points,) for each set, as the axes have them.
    """

    def __init__(self, axes: JointAxes, wanted: Floats, others: Sequence[Floats]) -> None:
        centred = [values - values.mean() for values in (*others, wanted)]
        scales = [
            np.sqrt(float(values @ values) / (size or 1.0)) or 1.0
            for values, size in zip(centred, axes.sizes, strict=True)
        ]
        target = np.concatenate([values / scale for values, scale in zip(centred, scales, strict=True)])
        self._centre, self._mean, self._scale = axes.centre, float(wanted.mean()), float(scales[-1])
        self._regressions = [Regression(each, target) for each in axes.axes]
        evidence = np.array([regression.log_evidence for regression in self._regressions])
        likelihood = np.exp(evidence - evidence.max())
        self.probability = likelihood / likelihood.sum()
        """Of each of `AGREEMENTS`."""
        expected = [regression.weights for regression in self._regressions]
        self._expected = self.probability @ [self._own(*each) for each in zip(AGREEMENTS, expected, strict=True)]

    def draw(self, generator: Generator) -> Predict:
        """Draw one function for the wanted values from all that could be true."""
        which = int(generator.choice(len(self.probability), p=self.probability))
        weights = self._own(AGREEMENTS[which], self._regressions[which].draw_weights(generator))
        constant = self._mean - self._centre @ weights
        return lambda features: features @ weights + constant

    def predict(self, features: Floats) -> Floats:
        """Return which wanted values are expected of points, (points, features)."""
        expected: Floats = (features - self._centre) @ self._expected + self._mean
        return expected

    def _own(self, agreement: float, weights: Floats) -> Floats:
        """Return the weights of the wanted values, in their units."""
        shared, own = np.split(weights, 2)
        found: Floats = (agreement * shared + np.sqrt(1 - agreement**2) * own) * self._scale
        return found
