"""The records of a ledger's trials with their architectures, each read once."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from nas.study import Ledger
from trials import TrialRecord
from trials.forecast import Trained


class TrainedTrials:
    """Reads the trained trials of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[int, Trained] = {}

    def of(self, trials: Iterable[FrozenTrial]) -> list[Trained]:
        """Return what was trained in those trials that have a record, in their order."""
        return [self._of(trial) for trial in trials if "record" in trial.user_attrs]

    def all(self) -> list[Trained]:
        """Return everything that was trained, in the order of the study."""
        return self.of(self._ledger.trials())

    def _of(self, trial: FrozenTrial) -> Trained:
        if trial.number not in self._read:
            record = TrialRecord.from_dict(trial.user_attrs["record"])
            self._read[trial.number] = self._ledger.architecture(trial), record
        return self._read[trial.number]
