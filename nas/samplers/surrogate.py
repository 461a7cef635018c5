"""What could be true of all objectives, learnt from what was trained."""

from collections.abc import Callable, Sequence

import numpy as np

from nas.samplers.features import Features
from nas.samplers.genes import GenePool, Genes
from nas.samplers.ranking import Floats
from reports.statistics.joint_regression import JointAxes, JointRegression
from reports.statistics.regression import Axes, Regression

Guess = Callable[[Sequence[Genes]], Floats]
"""From placements to (placements, objectives)."""
Told = tuple[Sequence[Genes], Floats]
"""Placements and their (placements, objectives)."""
MOST_SHORT = 150
"""Trials of each rung that are learnt from, the newest. Time grows with the cube of all: 0.1 s for twice as many with
111 that came to their end, as after 1,000 trials by default; 0.3 s for all 300 and five agreements."""
ENOUGH_WHOLE = 300
"""Trials that came to their end, from which on shorter ones are not needed."""


class Surrogate:
    """Regressions on what finished, one for each objective; costs too, which they have exact after a few trials.

    Results of shorter trainings help as far as they turn out to agree.

    They are a function of what they are given, and kept for as long as that is the same: for a generation's draws.
    """

    def __init__(self, pool: GenePool) -> None:
        self._features = Features(pool)
        self._learnt: Sequence[tuple[tuple[Genes, ...], bytes]] = [((), b"")]
        self._features_of_learnt: Floats = np.zeros((0, 0))
        self._regressions: Sequence[Regression | JointRegression] = []

    def learn(self, placements: Sequence[Genes], points: Floats, shorter: Sequence[Told] = ()) -> None:
        """Learn anew.

        Args:
            placements: at least one, trained to the end.
            points: (placements, objectives)
            shorter: what trainings of other lengths gave, one length after the other.
        """
        key = [(tuple(genes), values.tobytes()) for genes, values in ((placements, points), *shorter)]
        if key != self._learnt:
            features = self._features.of(placements)
            if shorter and len(placements) < ENOUGH_WHOLE:
                joint = JointAxes(features, [self._features.of(genes) for genes, _ in shorter])
                sets = zip(points.T, zip(*(values.T for _, values in shorter), strict=True), strict=True)
                self._regressions = [JointRegression(joint, values, others) for values, others in sets]
            else:
                axes = Axes(features)
                self._regressions = [Regression(axes, values) for values in points.T]
            self._learnt, self._features_of_learnt = key, features

    def expect(self, placements: Sequence[Genes]) -> Floats:
        """Return what is expected of placements at their end, (placements, objectives)."""
        features = self._features.of(placements)
        return np.stack([regression.predict(features) for regression in self._regressions], axis=1)

    def guess(self, generator: np.random.Generator) -> Guess:
        """Draw one possible truth."""
        predictions = [regression.draw(generator) for regression in self._regressions]

        def of(placements: Sequence[Genes]) -> Floats:
            is_learnt = tuple(placements) == self._learnt[0][0]  # the draw's first question, about all of them
            features = self._features_of_learnt if is_learnt else self._features.of(placements)
            return np.stack([predict(features) for predict in predictions], axis=1)

        return of
