"""The records of a ledger's trials with their architectures, each read once."""

from collections.abc import Iterable
from itertools import islice

from optuna.trial import FrozenTrial

from nas.study.ledger import Ledger
from nas.study.ledger_trial import record_of
from trials.forecast import Trained


class TrainedTrials:
    """Reads the trained trials of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[int, Trained] = {}

    def of(self, trials: Iterable[FrozenTrial]) -> list[Trained]:
        """Return what was trained in those trials that have a result, in their order."""
        return [trained for trial in trials if (trained := self._of(trial))]

    def latest(self, count: int) -> list[Trained]:
        """Return at most so many of what was trained last, in the order of the study."""
        trained = (each for trial in reversed(self._ledger.trials()) if (each := self._of(trial)))
        return list(islice(trained, count))[::-1]

    def _of(self, trial: FrozenTrial) -> Trained | None:
        if trial.number not in self._read and (record := record_of(trial)):
            self._read[trial.number] = self._ledger.architecture(trial), record
        return self._read.get(trial.number)
