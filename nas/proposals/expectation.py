"""What trials that reached a rung are expected to have at their end."""

from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from nas.samplers.genes import GenePool, Genes
from nas.samplers.one_thread import one_thread
from nas.samplers.surrogate import MOST_SHORT, Surrogate, Told
from nas.study.ledger import Ledger
from nas.study.ledger_trial import rung_results
from reports.objectives import Floats, to_minimise
from search_spaces import SearchSpace

MOST_WHOLE = 1000
"""Trials that came to their end that are learnt from, the newest."""
FEWEST_WHOLE = 2
"""Fewer say nothing of how far a rung agrees with the end."""


class Expectation:
    """Learns the ends of trainings from their rungs and from what came to its end; it has no state beside the ledger's.

    Args:
        ledger: whose trials they are.
        space: of the search.
        whole: gives what came to its end, with `indices`, as far as a decision about a batch may read it.
    """

    def __init__(self, ledger: Ledger, space: SearchSpace, whole: Callable[[int], Sequence[FrozenTrial]]) -> None:
        self._ledger, self._whole = ledger, whole
        self._surrogate = Surrogate(GenePool(space))

    def points(self, rung: int, trials: Sequence[FrozenTrial], batch: int) -> Floats:
        """Return objectives of the trials that have reached a rung, (those, objectives), minimised.

        Args:
            rung: its epochs.
            trials: proposals, in order, that may be learnt from at this rung and at those before.
            batch: which is to be judged.
        """
        told = self._told(rung, trials)
        whole = self._whole(batch)[-MOST_WHOLE:]
        if len(whole) < FEWEST_WHOLE:
            return told[1]
        rungs = sorted({epochs for trial in trials for epochs in rung_results(trial) if epochs < rung})
        shorter = [_newest(self._told(epochs, trials)) for epochs in rungs] + [_newest(told)]
        ends = to_minimise([trial.values for trial in whole], self._ledger.objectives)
        with one_thread():
            self._surrogate.learn([_genes(trial) for trial in whole], ends, shorter)
            return self._surrogate.expect(told[0])

    def _told(self, rung: int, trials: Sequence[FrozenTrial]) -> Told:
        reached = [trial for trial in trials if rung in rung_results(trial)]
        values = [self._ledger.rung_values(trial)[rung] for trial in reached]
        return [_genes(trial) for trial in reached], to_minimise(values, self._ledger.objectives)


def _genes(trial: FrozenTrial) -> Genes:
    return tuple(trial.user_attrs["indices"])


def _newest(told: Told) -> Told:
    genes, values = told
    return genes[-MOST_SHORT:], values[-MOST_SHORT:]
