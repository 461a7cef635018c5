"""One trial of the ledger: the states of its life, and how they are read from what Optuna keeps."""

from dataclasses import dataclass
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from search_spaces import Architecture
from trials.record import TrialRecord

Role = Literal["proposal", "baseline"]
State = Literal["refused", "waiting", "running", "paused", "stopped", "complete", "failed"]

RUNG = "rung "
"""With the epochs behind it: the attribute that holds the result of a rung."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to train: with which seed, for how many epochs, and why it is there."""

    number: int
    architecture: Architecture
    seed: int
    epochs: int
    role: Role
    label: str | None
    target: int
    """Epochs after which this leg of its training ends; `epochs` unless it may be stopped before."""
    rungs: tuple[int, ...] = ()
    """Epochs at which it may be stopped."""


@dataclass(frozen=True)
class Counts:
    """How many trials of one role are in which state; `refused` were never to be trained."""

    complete: int = 0
    stopped: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    paused: int = 0
    refused: int = 0

    @property
    def trained(self) -> int:
        """To the end, or until they were stopped: what a search's number of trials counts."""
        return self.complete + self.stopped

    @property
    def unfinished(self) -> int:
        return self.running + self.waiting + self.paused


def state_of(trial: FrozenTrial) -> State:
    """Return a ledger trial's state; one whose result is stored counts as finished, told or not."""
    attrs = trial.user_attrs
    if "refused" in attrs:
        return "refused"
    if "stopped" in attrs:
        return "stopped"
    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.FAIL:
        return "failed"
    if "record" in attrs:
        return "failed" if attrs["record"]["status"] == "failed" else "complete"
    if f"{RUNG}{target_of(trial)}" in attrs:
        return "paused"
    return "waiting" if trial.state == TrialState.WAITING else "running"


def target_of(trial: FrozenTrial) -> int:
    """Return after how many epochs a ledger trial's present leg ends, or ended."""
    attrs = trial.user_attrs
    return int(attrs.get("target", attrs["rungs"][0] if "rungs" in attrs else attrs["epochs"]))


def rung_results(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """Return the records, as data, of the rungs that a ledger trial has reached, by their epochs."""
    reached = {epochs: f"{RUNG}{epochs}" for epochs in trial.user_attrs.get("rungs", ())}
    return {epochs: trial.user_attrs[key] for epochs, key in reached.items() if key in trial.user_attrs}


def record_of(trial: FrozenTrial) -> TrialRecord | None:
    """Return a ledger trial's final result, of a stopped one that of its last rung; None if there is none yet."""
    attrs = trial.user_attrs
    data = attrs[f"{RUNG}{attrs['stopped']}"] if "stopped" in attrs else attrs.get("record")
    return None if data is None else TrialRecord.from_dict(data)


def forget_records(trial: FrozenTrial) -> None:
    """Take what a ledger trial has measured out of it, in memory alone, to make room."""
    for key in [key for key in trial.user_attrs if key == "record" or key.startswith(RUNG)]:
        del trial.user_attrs[key]
