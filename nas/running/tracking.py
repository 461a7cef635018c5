"""Trials in the trackers that people have: TensorBoard from here, MLflow and Weights & Biases by Ray's callbacks."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from nas.study.ledger_trial import Proposal
from search_spaces.errors import InputError
from trials import TrialRecord


class Tracker(StrEnum):
    """Where trials can be written down."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
    WANDB = "wandb"


SCALARS = ("train_loss", "loss", "accuracy", "miou", "lr")
"""Of each epoch; loss, accuracy and mIoU are of the validation images."""

FIGURES = ("accuracy", "loss", "miou", "test_accuracy", "params", "macs", "latency_ms", "memory_bytes", "wall_s")
"""Of each trial at its end, as far as they were measured."""


class TrialLogger(Protocol):
    """Writes down what trials do."""

    def epoch(self, phase: str, proposal: Proposal, epoch: dict[str, Any]) -> None:
        """Take a finished epoch (`trials.record.EpochResult` as a dict) of the phase `search` or `confirm`."""

    def end(self, phase: str, proposal: Proposal, record: TrialRecord) -> None:
        """Take a trial's end."""

    def close(self) -> None:
        """Write what is not written."""


class TensorBoard:
    """One run per trial in `folder`, `<phase>/<number>-<label or id>`: curves over epochs, and the final figures.

    Raises:
        InputError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError(f"{error}; `--track tensorboard` needs `pip install tensorboardX`") from error
        self._new_writer, self._folder = SummaryWriter, folder
        self._writers: dict[tuple[str, int], Any] = {}

    def epoch(self, phase: str, proposal: Proposal, epoch: dict[str, Any]) -> None:
        """Add an epoch to the trial's curves."""
        writer = self._writer(phase, proposal)
        for name in SCALARS:
            if epoch.get(name) is not None:
                writer.add_scalar(name, epoch[name], epoch["epoch"])

    def end(self, phase: str, proposal: Proposal, record: TrialRecord) -> None:
        """Write the trial's figures and its architecture, and close its run."""
        writer = self._writer(phase, proposal)
        for name in FIGURES:
            if (value := getattr(record, name)) is not None:
                writer.add_scalar(f"trial/{name}", value, record.epochs)
        writer.add_text("architecture", f"```\n{proposal.architecture.to_yaml()}\n```", record.epochs)
        if record.reason:
            writer.add_text("failed", record.reason, record.epochs)
        self._writers.pop((phase, proposal.number)).close()

    def close(self) -> None:
        """Close the runs that have not come to their end."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, phase: str, proposal: Proposal) -> Any:
        key = (phase, proposal.number)
        if key not in self._writers:
            name = f"{proposal.number}-{proposal.label or proposal.architecture.id}".replace(" ", "-").replace("/", "-")
            self._writers[key] = self._new_writer(str(self._folder / phase / name))
        return self._writers[key]


def make_loggers(trackers: Sequence[Tracker], folder: Path) -> list[TrialLogger]:
    """Return our own loggers among what was asked for, writing into the study's folder."""
    return [TensorBoard(folder / "tensorboard")] if Tracker.TENSORBOARD in trackers else []


def make_callbacks(trackers: Sequence[Tracker], name: str) -> list[Any]:
    """Return Ray's callbacks among what was asked for; they read MLFLOW_TRACKING_URI, WANDB_API_KEY and their like.

    Args:
        trackers: what was asked for.
        name: of the experiment there.

    Raises:
        InputError: the tracker is not installed.
    """
    made: list[Any] = []
    try:
        if Tracker.MLFLOW in trackers:
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            made.append(MLflowLoggerCallback(experiment_name=name))
        if Tracker.WANDB in trackers:
            from ray.air.integrations.wandb import WandbLoggerCallback

            made.append(WandbLoggerCallback(project=name, excludes=["record", "epoch_result"]))
    except (ImportError, RuntimeError) as error:
        missing = " ".join(tracker for tracker in trackers if tracker != Tracker.TENSORBOARD)
        raise InputError(f"{error}; `pip install {missing}`") from error
    return made
