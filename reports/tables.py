"""The table of the front beside the baselines: the same rows for the page, the terminal and the CSV files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from reports import wording
from reports.front import Measured, Stage, Summary, best_summary
from reports.placement import Naming, naming_of
from reports.statistics import Difference, Interval, correct_for_many, paired_difference, t_interval
from reports.view import Role, StudyView, TrialView
from search_spaces import Architecture
from trials.record import TrialRecord

Group = Literal["front", "baseline", "other"]
Value = Callable[[TrialRecord], float | None]


@dataclass(frozen=True)
class FrontRow:
    """One architecture of the table, measured at one length of training."""

    id: str
    number: int | None
    """Of its trial in the search; None if it is not there."""
    role: Role
    label: str | None
    """A baseline's name."""
    group: Group
    """`front`: nothing dominates it (baselines may stand here too); `baseline`, `other`: something does."""
    is_host: bool
    is_knee: bool
    stage: Stage
    epochs: int
    num_seeds: int
    accuracy: Interval | None
    """On the validation split, a fraction; without bounds where there is one seed."""
    loss: Interval | None
    """On the validation split, nats."""
    accuracy_difference: Difference | None
    """To the bare host, paired by seed; None for the host itself, or where the host was not measured."""
    loss_difference: Difference | None
    test_accuracy: Interval | None
    test_loss: Interval | None
    params: int
    macs: int
    host_params: int | None
    host_macs: int | None
    latency_ms: float | None
    memory_bytes: float | None
    placement: tuple[str, ...]
    """One line per kind of module."""
    architecture: Architecture

    @property
    def name(self) -> str:
        """What a reader calls it: the baseline's label, else the id."""
        return self.label or self.id


def front_rows(view: StudyView) -> list[FrontRow]:
    """Return the front (cheapest first), then the baselines behind it, then what was confirmed but lies behind it.

    If anything of the confirmation has finished, these are its means over the seeds and nothing else is shown; before,
    they are the search's single trainings, and the third group is left out. The words `better` and `worse` hold
    together over all rows (Holm), for accuracy and for log-loss each. A study without a finished trial has no rows.
    """
    return rows_of(view, best_summary(view), naming(view))


def naming(view: StudyView) -> Naming:
    """Return the short names of the study's modules."""
    return naming_of(trial.architecture for trial in (*view.search, *view.confirm))


def rows_of(view: StudyView, summary: Summary, names: Naming) -> list[FrontRow]:
    """Return the table of one summary; see `front_rows`."""
    behind = [item for item in summary.items if not item.on_front]
    baselines = [item for item in behind if item.role == "baseline"]
    others = [item for item in behind if item.role != "baseline"] if summary.stage == "confirm" else []
    shown = [*summary.front, *baselines, *sorted(others, key=lambda item: item.records[0].macs)]
    host = summary.find(view.host)
    accuracy = _differences(shown, host, lambda record: record.accuracy, maximise=True)
    loss = _differences(shown, host, lambda record: record.loss, maximise=False)
    return [_row(summary, item, host, names, accuracy[i], loss[i]) for i, item in enumerate(shown)]


def _differences(
    items: Sequence[Measured], host: Measured | None, value: Value, *, maximise: bool
) -> list[Difference | None]:
    """Compare each item but the host with the host."""
    if host is None:
        return [None] * len(items)
    step = 1 / host.records[0].num_validation if maximise and host.records[0].num_validation else 0.0
    found = {
        i: paired_difference(item.by_seed(value), host.by_seed(value), maximise=maximise, step=step)
        for i, item in enumerate(items)
        if item is not host
    }
    corrected = dict(zip(found, correct_for_many(list(found.values())), strict=True))
    return [corrected.get(i) for i in range(len(items))]


def _row(
    summary: Summary,
    item: Measured,
    host: Measured | None,
    names: Naming,
    accuracy: Difference | None,
    loss: Difference | None,
) -> FrontRow:
    first = item.records[0]
    return FrontRow(
        id=item.architecture.id,
        number=item.number,
        role=item.role,
        label=item.label,
        group="front" if item.on_front else "baseline" if item.role == "baseline" else "other",
        is_host=item is host,
        is_knee=item is summary.knee,
        stage=summary.stage,
        epochs=first.epochs,
        num_seeds=len(item.records),
        accuracy=interval_of(item, lambda record: record.accuracy),
        loss=interval_of(item, lambda record: record.loss),
        accuracy_difference=accuracy,
        loss_difference=loss,
        test_accuracy=interval_of(item, lambda record: record.test_accuracy),
        test_loss=interval_of(item, lambda record: record.test_loss),
        params=first.params,
        macs=first.macs,
        host_params=host.records[0].params if host else None,
        host_macs=host.records[0].macs if host else None,
        latency_ms=item.mean(lambda record: record.latency_ms),
        memory_bytes=item.mean(lambda record: record.memory_bytes),
        placement=tuple(names.lines(item.architecture)),
        architecture=item.architecture,
    )


def interval_of(item: Measured, value: Value) -> Interval | None:
    """Return a number's mean over the seeds with its t-interval; None where it was never measured."""
    values = list(item.by_seed(value).values())
    return t_interval(values) if values else None


def latency_of(latency_ms: float | None) -> str:
    """Return `1.234 ms`."""
    return wording.NOT_MEASURED if latency_ms is None else f"{latency_ms:.3g} ms"


@dataclass(frozen=True)
class FailureRow:
    """Failures that say the same."""

    reason: str
    stage: Stage
    trials: tuple[TrialView, ...]


def failure_rows(view: StudyView) -> list[FailureRow]:
    """Return the failed trials by reason, the most frequent first."""
    groups: dict[tuple[str, Stage], list[TrialView]] = {}
    stages: tuple[tuple[Stage, tuple[TrialView, ...]], ...] = (("search", view.search), ("confirm", view.confirm))
    for stage, trials in stages:
        for trial in trials:
            if trial.state == "failed":
                groups.setdefault((trial.reason, stage), []).append(trial)
    rows = [FailureRow(reason, stage, tuple(trials)) for (reason, stage), trials in groups.items()]
    return sorted(rows, key=lambda row: -len(row.trials))
