"""What could be true of all objectives, learnt from what was trained."""

from collections.abc import Callable, Sequence

import numpy as np

from nas.samplers.features import Features
from nas.samplers.genes import GenePool, Genes
from nas.samplers.ranking import Floats
from reports.regression import Axes, Regression

Guess = Callable[[Sequence[Genes]], Floats]
"""From placements to (placements, objectives)."""


class Surrogate:
    """Regressions on what finished, one for each objective; costs too, which they have exact after a few trials.

    They are a function of what they are given, and kept for as long as that is the same: for a generation's draws.
    """

    def __init__(self, pool: GenePool) -> None:
        self._features = Features(pool)
        self._learnt: tuple[tuple[Genes, ...], bytes] = ((), b"")
        self._features_of_learnt: Floats = np.zeros((0, 0))
        self._regressions: list[Regression] = []

    def learn(self, placements: Sequence[Genes], points: Floats) -> None:
        """Learn anew from placements and their (placements, objectives), at least one."""
        key = (tuple(placements), points.tobytes())
        if key != self._learnt:
            features = self._features.of(placements)
            axes = Axes(features)
            self._regressions = [Regression(axes, values) for values in points.T]
            self._learnt, self._features_of_learnt = key, features

    def guess(self, generator: np.random.Generator) -> Guess:
        """Draw one possible truth."""
        predictions = [regression.draw(generator) for regression in self._regressions]

        def of(placements: Sequence[Genes]) -> Floats:
            is_learnt = tuple(placements) == self._learnt[0]  # the draw's first question, about all of them
            features = self._features_of_learnt if is_learnt else self._features.of(placements)
            return np.stack([predict(features) for predict in predictions], axis=1)

        return of
