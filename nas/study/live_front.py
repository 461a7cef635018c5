"""The front of a ledger's complete trials, kept up to date by what changed."""

import numpy as np
from optuna.trial import FrozenTrial

from nas.study.ledger_index import Changes
from nas.study.ledger_trial import state_of
from reports.objectives import to_minimise
from reports.statistics.pareto import hypervolume, nondominated, reference_point


class LiveFront:
    """The front of what was trained to its end and told; stopped trials are never on it.

    Args:
        changes: of the ledger.
        objectives: of its values.
    """

    def __init__(self, changes: Changes, objectives: tuple[str, ...]) -> None:
        self._changes, self._objectives = changes, objectives
        self._points = np.empty((0, len(objectives)))
        self._trials: list[FrozenTrial] = []
        self._ends = np.empty((0, len(objectives)))
        self._seen: set[int] = set()
        self._left: list[FrozenTrial] = []

    @property
    def size(self) -> int:
        """How many trials are on the front; equal ones all count."""
        self._refresh()
        return len(self._trials)

    @property
    def hypervolume(self) -> float:
        """The last value of `pareto.hypervolume_history` over all that is complete; 0 if nothing is."""
        self._refresh()
        if not self._trials:
            return 0.0
        best, corner = self._ends[0], reference_point(self._ends)
        return hypervolume((self._points - best) / (corner - best), np.ones(len(best)))

    def left_behind(self) -> list[FrozenTrial]:
        """Return the complete trials that are not, or not any more, on the front; each is returned once."""
        self._refresh()
        left, self._left = self._left, []
        return left

    def _refresh(self) -> None:
        new = [t for t in self._changes.take() if t.number not in self._seen and _is_complete(t)]
        if not new:
            return
        self._seen.update(trial.number for trial in new)
        added = to_minimise([trial.values for trial in new], self._objectives)
        every = np.vstack([self._ends, added])
        self._ends = np.array([every.min(axis=0), every.max(axis=0)])
        trials, points = [*self._trials, *new], np.vstack([self._points, added])
        kept = nondominated(points)
        self._left += [trial for trial, on_front in zip(trials, kept, strict=True) if not on_front]
        self._trials = [trial for trial, on_front in zip(trials, kept, strict=True) if on_front]
        self._points = points[kept]


def _is_complete(trial: FrozenTrial) -> bool:
    return trial.state.name == "COMPLETE" and state_of(trial) == "complete"
