"""What a worker does: train and measure one architecture."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_spaces import Architecture
from search_spaces.plugins import Plugin, load_recorded
from trials import TrialConfig, run_trial
from trials.record import EpochResult


@dataclass(frozen=True)
class Task:
    """One training, as plain data that travels to a worker."""

    architecture: dict[str, Any]
    config: dict[str, Any]
    seed: int
    folder: str
    """The study's, where the files below are."""
    weights: str
    """Where the trained weights go; nowhere if empty."""
    checkpoint: str = ""
    """The file that its training goes on from, after a rung or an interruption; none if empty."""
    plugins: tuple[dict[str, Any], ...] = ()
    """The user's own modules that it needs, as `Plugin.to_dict` writes them."""


def run_task(task: Task, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the task, reporting every epoch, and return its record as plain data."""

    def on_epoch(result: EpochResult) -> None:
        report(asdict(result))

    for plugin in task.plugins:
        load_recorded(Plugin.from_dict(plugin))
    record = run_trial(
        Architecture.from_dict(task.architecture),
        TrialConfig.model_validate(task.config),
        task.seed,
        on_epoch=on_epoch,
        weights=Path(task.folder, task.weights) if task.weights else None,
        checkpoint=Path(task.folder, task.checkpoint) if task.checkpoint else None,
    )
    return record.to_dict()
