"""What can be an objective, in which unit and in which direction; the one place that converts signs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search_spaces.errors import unknown
from trials.dataset import Task
from trials.record import TrialRecord

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A quantity of a trial's record that a search may optimise."""

    name: str
    title: str
    """What a reader calls it."""
    unit: str
    """Unit of `value`; empty for counts."""
    maximise: bool
    value: Callable[[TrialRecord], float | None]
    """Reads it from a record in natural units; None where it was not measured."""
    task: Task | None = None
    """The only task that has it; None: all have it."""


_ALL = (
    Objective("accuracy", "validation accuracy", "fraction", True, lambda record: record.accuracy),
    Objective("miou", "validation mIoU", "fraction", True, lambda record: record.miou, "segment"),
    Objective("loss", "validation log-loss", "nats", False, lambda record: record.loss),
    Objective("macs", "FLOPs (MACs)", "", False, lambda record: record.macs),
    Objective("params", "parameters", "", False, lambda record: record.params),
    Objective("latency_ms", "latency", "ms", False, lambda record: record.latency_ms),
    Objective("memory_bytes", "peak training memory", "bytes", False, lambda record: record.memory_bytes),
)

OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in _ALL}
"""From the name an experiment uses to the objective."""

QUALITY = ("miou", "accuracy", "loss")
"""What only training can tell, what plots show of several first; the others are costs."""


def to_minimise(values: Iterable[Sequence[float]], objectives: Sequence[str]) -> Floats:
    """Return values in natural units, (trials, objectives), with the sign turned where more is better.

    NaN stays NaN; no trials give an array of shape (0, objectives).

    Raises:
        InputError: an objective that does not exist.
        ValueError: a row whose length is not the number of objectives.
    """
    for name in objectives:
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
    rows = list(values)
    if any(len(row) != len(objectives) for row in rows):
        raise ValueError(f"each row must hold the {len(objectives)} objectives {', '.join(objectives)}")
    signs = np.array([-1.0 if OBJECTIVES[name].maximise else 1.0 for name in objectives])
    points: Floats = np.asarray(rows, dtype=np.float64).reshape(len(rows), len(objectives)) * signs
    return points
