"""The records of a ledger's trials with their architectures, each read once."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from nas.ledger_trial import record_of
from nas.study import Ledger
from trials.forecast import Trained


class TrainedTrials:
    """Reads the trained trials of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._changes = ledger, ledger.changes()
        self._read: dict[int, Trained] = {}

    def of(self, trials: Iterable[FrozenTrial]) -> list[Trained]:
        """Return what was trained in those trials that have a result, in their order."""
        return [trained for trial in trials if (trained := self._of(trial))]

    def all(self) -> list[Trained]:
        """Return everything that was trained, in the order of the study."""
        for trial in self._changes.take():
            self._of(trial)
        return [self._read[number] for number in sorted(self._read)]

    def _of(self, trial: FrozenTrial) -> Trained | None:
        if trial.number not in self._read and (record := record_of(trial)):
            self._read[trial.number] = self._ledger.architecture(trial), record
        return self._read.get(trial.number)
