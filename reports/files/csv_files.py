"""The tables as CSV: units in the column names, an empty cell for what was not measured."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from reports.front.equal_cost import EqualCostRow
from reports.front.tables import FrontRow
from reports.statistics.intervals import Difference, Interval
from reports.view import TrialView
from search_spaces.space.host_choices import host_label
from trials.record import TrialRecord

Cell = str | int | float | bool | None
Row = TypeVar("Row")
Columns = Mapping[str, Callable[[Row], Cell]]


def write_csv(path: Path, rows: Sequence[Row], columns: Columns[Row]) -> None:
    """Write rows under a header, which also stands where there are no rows. None becomes an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row) for cell in columns.values()] for row in rows)


def _interval(name: str, unit: str, read: Callable[[FrontRow], Interval | None]) -> Columns[FrontRow]:
    def part(of: Callable[[Interval], Cell]) -> Callable[[FrontRow], Cell]:
        return lambda row: None if (interval := read(row)) is None else of(interval)

    return {
        f"{name}_{unit}": part(lambda interval: interval.mean),
        f"{name}_low_{unit}": part(lambda interval: interval.low),
        f"{name}_high_{unit}": part(lambda interval: interval.high),
    }


def _difference(name: str, unit: str, read: Callable[[Row], Difference | None], over: str = "host") -> Columns[Row]:
    def part(of: Callable[[Difference], Cell]) -> Callable[[Row], Cell]:
        return lambda row: None if (difference := read(row)) is None else of(difference)

    return {
        f"{name}_over_{over}_{unit}": part(lambda difference: difference.mean),
        f"{name}_over_{over}_low_{unit}": part(
            lambda difference: difference.interval.low if difference.interval else None
        ),
        f"{name}_over_{over}_high_{unit}": part(
            lambda difference: difference.interval.high if difference.interval else None
        ),
        f"{name}_pairs": part(lambda difference: difference.n),
        f"{name}_p_value": part(lambda difference: difference.p_value),
        f"{name}_verdict": part(lambda difference: difference.verdict),
    }


def _record(read: Callable[[TrialRecord], Cell]) -> Callable[[TrialView], Cell]:
    return lambda trial: None if trial.record is None else read(trial.record)


FRONT_CSV: Columns[FrontRow] = {
    "id": lambda row: row.id,
    "trial": lambda row: row.number,
    "role": lambda row: row.role,
    "label": lambda row: row.label,
    "on_front": lambda row: row.group == "front",
    "knee": lambda row: row.is_knee,
    "stage": lambda row: row.stage,
    "epochs": lambda row: row.epochs,
    "num_seeds": lambda row: row.num_seeds,
    **_interval("validation_accuracy", "fraction", lambda row: row.accuracy),
    **_difference("validation_accuracy", "fraction", lambda row: row.accuracy_difference),
    **_interval("validation_loss", "nats", lambda row: row.loss),
    **_difference("validation_loss", "nats", lambda row: row.loss_difference),
    **_interval("test_accuracy", "fraction", lambda row: row.test_accuracy),
    **_interval("test_loss", "nats", lambda row: row.test_loss),
    "params": lambda row: row.params,
    "macs": lambda row: row.macs,
    "params_over_host_fraction": lambda row: _over(row.params, row.host_params),
    "macs_over_host_fraction": lambda row: _over(row.macs, row.host_macs),
    "latency_ms": lambda row: row.latency_ms,
    "memory_bytes": lambda row: row.memory_bytes,
    "host": lambda row: host_label(row.architecture.host),
    "placement": lambda row: row.architecture.summary(),
}
"""Columns of front.csv; the verdicts are corrected for many comparisons, intervals and p-values are not. After a race,
intervals and p-values are those over all numbers of seeds at which it might have stopped."""

MIOU_FRONT_CSV: Columns[FrontRow] = {
    **_interval("validation_miou", "fraction", lambda row: row.miou),
    **_difference("validation_miou", "fraction", lambda row: row.miou_difference),
    **_interval("validation_miou_small", "fraction", lambda row: row.miou_by_size.get("small")),
    **_interval("validation_miou_medium", "fraction", lambda row: row.miou_by_size.get("medium")),
    **_interval("validation_miou_large", "fraction", lambda row: row.miou_by_size.get("large")),
    **_interval("test_miou", "fraction", lambda row: row.test_miou),
}
"""Further columns where each pixel has a class; accuracies are of pixels then."""

EQUAL_COST_CSV: Columns[EqualCostRow] = {
    "id": lambda row: row.of.id,
    "on_front": lambda row: row.of.group == "front",
    "params": lambda row: row.of.params,
    "macs": lambda row: row.of.macs,
    "control_kind": lambda row: row.kind,
    "control_label": lambda row: row.label or None,
    "control_id": lambda row: row.id or None,
    "control_params": lambda row: row.params,
    "control_macs": lambda row: row.macs,
    "best_control": lambda row: row.is_best,
    **_difference("validation_quality", "fraction", lambda row: row.quality_difference, "control"),
    **_difference("validation_loss", "nats", lambda row: row.loss_difference, "control"),
    "reason": lambda row: row.reason or None,
}
"""Columns of equal_cost.csv; quality is accuracy, or mIoU where each pixel has a class."""

TRIALS_CSV: Columns[TrialView] = {
    "trial": lambda trial: trial.number,
    "id": lambda trial: trial.architecture.id,
    "hash": lambda trial: trial.architecture.hash,
    "role": lambda trial: trial.role,
    "label": lambda trial: trial.label,
    "state": lambda trial: trial.state,
    "reason": lambda trial: trial.reason or None,
    "seed": _record(lambda record: record.seed),
    "epochs": _record(lambda record: record.epochs),
    "validation_accuracy_fraction": _record(lambda record: record.accuracy),
    "validation_loss_nats": _record(lambda record: record.loss),
    "test_accuracy_fraction": _record(lambda record: record.test_accuracy),
    "test_loss_nats": _record(lambda record: record.test_loss),
    "params": _record(lambda record: record.params),
    "macs": _record(lambda record: record.macs),
    "latency_ms": _record(lambda record: record.latency_ms),
    "memory_bytes": _record(lambda record: record.memory_bytes),
    "wall_s": _record(lambda record: record.wall_s),
    "images_per_s": _record(lambda record: record.images_per_s),
    "device": _record(lambda record: record.device),
    "precision": _record(lambda record: record.precision),
    "compiling": _record(lambda record: record.compiling),
    "accumulation": _record(lambda record: record.accumulation),
    "failure": _record(lambda record: record.failure),
    "warnings": _record(lambda record: "; ".join(record.warnings) or None),
    "started_at_utc": _record(lambda record: record.started_at),
    "finished_at_utc": lambda trial: trial.finished_at,
    "host": lambda trial: host_label(trial.architecture.host),
    "placement": lambda trial: trial.architecture.summary(),
}
"""Columns of trials.csv and confirm.csv."""

MIOU_TRIALS_CSV: Columns[TrialView] = {
    "validation_miou_fraction": _record(lambda record: record.miou),
    "validation_miou_small_fraction": _record(lambda record: (record.miou_by_size or {}).get("small")),
    "validation_miou_medium_fraction": _record(lambda record: (record.miou_by_size or {}).get("medium")),
    "validation_miou_large_fraction": _record(lambda record: (record.miou_by_size or {}).get("large")),
    "test_miou_fraction": _record(lambda record: record.test_miou),
}
"""Further columns where each pixel has a class."""


def _over(value: int, host: int | None) -> float | None:
    return (value - host) / host if host else None
