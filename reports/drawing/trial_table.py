"""The table of all trials as plain data for the page's script, which sorts, searches and shows it a page at a time."""

from collections.abc import Callable, Mapping
from typing import Any

from reports.drawing.plots import short
from reports.front.summary import Summary
from reports.quality import Quality
from reports.view import StudyView, TrialView
from trials.record import TrialRecord

STATES = ("front", "complete", "stopped", "failed", "running")
"""What a trial can be, by number; `front` are those of the search that nothing dominates."""


def trial_table(view: StudyView, search: Summary, quality: Quality, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return the search's trials by columns; None where a number was not measured.

    Args:
        numbers: from an architecture's hash to its place in `Outlines`.
    """
    on_front = {item.architecture.hash for item in search.front}

    def state(trial: TrialView) -> int:
        front = trial.measured and trial.architecture.hash in on_front
        return STATES.index("front" if front else trial.state)

    def column(read: Callable[[TrialRecord], float | None], scale: float = 1.0) -> list[float | int | None]:
        return [_number(read(trial.record), scale) if trial.record else None for trial in view.search]

    return {
        "states": STATES,
        "number": [trial.number for trial in view.search],
        "placed": [numbers[trial.architecture.hash] for trial in view.search],
        "label": {i: trial.label for i, trial in enumerate(view.search) if trial.label},
        "reason": {i: trial.reason for i, trial in enumerate(view.search) if trial.reason},
        "state": [state(trial) for trial in view.search],
        "quality": column(quality.value, 100.0),
        "loss": column(lambda record: record.loss),
        "params": column(lambda record: record.params),
        "macs": column(lambda record: record.macs),
        "latency": column(lambda record: record.latency_ms),
        "wall": column(lambda record: record.wall_s),
    }


def _number(value: float | None, scale: float) -> float | int | None:
    return value if isinstance(value, int) else short(value * scale if value is not None else None)
