"""What a study's trials are to an evolution: their genes and values, each read once.

To read them all again would make each draw slower than the last.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.genes import GenePool, Genes
from nas.samplers.ranking import Floats
from nas.samplers.sampler import BASELINE, RUNG_VALUES


class Past:
    """The trials of one study before the one that is being asked for; `follow` brings it up to date.

    What it holds is a function of the trials alone, whenever it was told of them.
    """

    def __init__(self, pool: GenePool) -> None:
        self._pool = pool
        self._genes: list[Genes] = []
        self._open: set[int] = set()
        self._numbers: list[int] = []
        self.known: set[Genes] = set()
        """The genes of all trials, without the silent ones."""
        self.num_proposals = 0
        """Without baselines."""
        self.num_finished_proposals = 0
        """Failed ones too."""
        self.genes: list[Genes] = []
        """Of the complete trials, in the order of their numbers, as in what follows."""
        self.rungs: list[Mapping[int, Sequence[float]]] = []
        """Of the complete trials, the values at the rungs that they reached, by their epochs."""
        self.values: Floats | None = None
        """(complete trials, objectives) None if there are none."""
        self.levels: Floats = np.empty(0)
        """(complete trials,) by how much each breaks its constraints."""

    def follow(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in what is new or finished among all trials of the study, which are in the order of their numbers."""
        for trial in trials[len(self._genes) :]:
            params = trial.params
            genes = tuple(params.get(name, 0) for name in self._pool.names)  # a single option is no parameter
            self._genes.append(genes)
            self.known.add(self._pool.normal(genes))
            self._open.add(trial.number)
            self.num_proposals += _is_proposal(trial)
        for number in [number for number in self._open if trials[number].state.is_finished()]:
            self._open.remove(number)
            self.num_finished_proposals += _is_proposal(trials[number])
            if trials[number].state == TrialState.COMPLETE:
                self._insert(trials[number])

    def shorter(self, most: int) -> list[tuple[list[Genes], Floats]]:
        """Return genes and values at each rung that complete trials reached, ascending, of each the newest `most`."""
        found = []
        for epochs in sorted({epochs for reached in self.rungs for epochs in reached}):
            numbers = [number for number, reached in enumerate(self.rungs) if epochs in reached][-most:]
            values = np.array([self.rungs[number][epochs] for number in numbers], dtype=np.float64)
            found.append(([self.genes[number] for number in numbers], values))
        return found

    def _insert(self, trial: FrozenTrial) -> None:
        place = bisect(self._numbers, trial.number)
        self._numbers.insert(place, trial.number)
        self.genes.insert(place, self._genes[trial.number])
        self.rungs.insert(place, trial.user_attrs.get(RUNG_VALUES, {}))
        row = np.array([trial.values])
        self.values = row if self.values is None else np.insert(self.values, place, row, axis=0)
        self.levels = np.insert(self.levels, place, sum(max(0.0, value) for value in trial.constraints.values()))


def _is_proposal(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("role") != BASELINE
