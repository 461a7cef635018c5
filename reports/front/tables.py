"""The table of the front beside the baselines: the same rows for the page, the terminal and the CSV files."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reports import wording
from reports.front.placement import Naming, naming_of
from reports.front.summary import Measured, Stage, Summary, best_summary
from reports.quality import MIOU, Quality, accuracy_of, quality_of
from reports.statistics.intervals import Difference, Interval, correct_for_many, paired_difference, t_interval
from reports.view import Role, StudyView, TrialView
from search_spaces import Architecture, HostConfig
from trials.record import TrialRecord
from trials.scenes import SIZES

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
    host: str
    """The host's name where the study has several, else nothing."""
    is_host: bool
    """It is a bare host."""
    is_knee: bool
    stage: Stage
    epochs: int
    num_seeds: int
    accuracy: Interval | None
    """On the validation split, a fraction; without bounds where there is one seed."""
    loss: Interval | None
    """On the validation split, nats."""
    accuracy_difference: Difference | None
    """To its own bare host, paired by seed; None for the host itself, or where the host was not measured."""
    loss_difference: Difference | None
    test_accuracy: Interval | None
    test_loss: Interval | None
    miou: Interval | None
    """Segmentation: mean intersection over union on the validation split, a fraction; then `accuracy` is of pixels."""
    miou_difference: Difference | None
    miou_by_size: dict[str, Interval]
    """The same for small, medium and large objects; empty where it was not measured."""
    test_miou: Interval | None
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

    @property
    def quality(self) -> Interval | None:
        """What is shown first: mIoU where it was measured, else accuracy."""
        return self.miou or self.accuracy

    @property
    def quality_difference(self) -> Difference | None:
        """The same over its own bare host."""
        return self.miou_difference if self.miou else self.accuracy_difference

    @property
    def test_quality(self) -> Interval | None:
        """The same on the test split."""
        return self.test_miou if self.miou else self.test_accuracy


def front_rows(view: StudyView) -> list[FrontRow]:
    """Return the front (cheapest first), then the baselines behind it, then what was confirmed but lies behind it.

    If anything of the confirmation has finished, these are its means over the seeds and nothing else is shown; before,
    they are the search's single trainings, and the third group is left out. The words `better` and `worse` hold
    together over all rows (Holm), for accuracy, mIoU and log-loss each. A study without a finished trial has no rows.
    """
    return rows_of(best_summary(view), naming(view))


def naming(view: StudyView) -> Naming:
    """Return the short names of the study's modules."""
    architectures = (trial.architecture for trial in (*view.search, *view.confirm))
    return naming_of(each for each in architectures if each.items or view.is_bare_host(each))


def rows_of(summary: Summary, names: Naming) -> list[FrontRow]:
    """Return the table of one summary; see `front_rows`."""
    behind = [item for item in summary.items if not item.on_front]
    baselines = [item for item in behind if item.role == "baseline"]
    others = [item for item in behind if item.role != "baseline"] if summary.stage == "confirm" else []
    shown = [*summary.front, *baselines, *sorted(others, key=lambda item: item.records[0].macs)]
    hosts = {item.architecture.host: item for item in summary.items if item.is_bare_host}
    against = [_bare_host_of(item, hosts) for item in shown]
    records = [record for item in summary.items for record in item.records]
    accuracy = shares(shown, against, accuracy_of(records))
    miou = shares(shown, against, MIOU) if quality_of(records) is MIOU else [None] * len(shown)
    loss = differences(shown, against, lambda record: record.loss, maximise=False)
    return [_row(summary, item, against[i], names, accuracy[i], miou[i], loss[i]) for i, item in enumerate(shown)]


def row_of(summary: Summary, item: Measured, names: Naming) -> FrontRow:
    """Return the row of one architecture, compared with its bare host alone."""
    hosts = {each.architecture.host: each for each in summary.items if each.is_bare_host}
    against = _bare_host_of(item, hosts)
    (accuracy,) = shares([item], [against], accuracy_of(item.records))
    miou = shares([item], [against], MIOU)[0] if quality_of(item.records) is MIOU else None
    (loss,) = differences([item], [against], lambda record: record.loss, maximise=False)
    return _row(summary, item, against, names, accuracy, miou, loss)


def _bare_host_of(item: Measured, hosts: Mapping[HostConfig, Measured]) -> Measured | None:
    """Return an item's bare host."""
    host = bare_host_of(item.architecture, hosts)
    return None if host is None else hosts[host]


def bare_host_of(architecture: Architecture, hosts: Collection[HostConfig]) -> HostConfig | None:
    """Return an architecture's bare host of `hosts`; of one only made wider, the widest that it may have been."""
    own = architecture.host
    if own in hosts or architecture.items:
        return own if own in hosts else None
    narrower = [
        host for host in hosts if host.width < own.width and host.model_copy(update={"width": own.width}) == own
    ]
    return max(narrower, key=lambda host: host.width, default=None)


def shares(items: Sequence[Measured], others: Sequence[Measured | None], quality: Quality) -> list[Difference | None]:
    """Compare each item with another one in accuracy or mIoU; see `differences`."""
    return differences(items, others, quality.value, maximise=True, step=quality.step)


def differences(
    items: Sequence[Measured],
    others: Sequence[Measured | None],
    value: Value,
    *,
    maximise: bool,
    step: Callable[[TrialRecord], float] = lambda _: 0.0,
) -> list[Difference | None]:
    """Compare each item with another one, paired by seed; not where there is none or it is the item itself.

    The verdicts hold together over all that are compared (Holm).
    """
    found = {
        i: paired_difference(
            item.by_seed(value),
            other.by_seed(value),
            maximise=maximise,
            step=step(other.records[0]),
            looks=item.looks,
        )
        for i, (item, other) in enumerate(zip(items, others, strict=True))
        if other and item is not other
    }
    corrected = dict(zip(found, correct_for_many(list(found.values())), strict=True))
    return [corrected.get(i) for i in range(len(items))]


def _row(
    summary: Summary,
    item: Measured,
    host: Measured | None,
    names: Naming,
    accuracy: Difference | None,
    miou: Difference | None,
    loss: Difference | None,
) -> FrontRow:
    first = item.records[0]
    return FrontRow(
        id=item.architecture.id,
        number=item.number,
        role=item.role,
        label=item.label,
        group="front" if item.on_front else "baseline" if item.role == "baseline" else "other",
        host=names.host(item.architecture),
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
        miou=interval_of(item, MIOU.value),
        miou_difference=miou,
        miou_by_size=by_size(item),
        test_miou=interval_of(item, MIOU.test),
        params=first.params,
        macs=first.macs,
        host_params=host.records[0].params if host else None,
        host_macs=host.records[0].macs if host else None,
        latency_ms=item.mean(lambda record: record.latency_ms),
        memory_bytes=item.mean(lambda record: record.memory_bytes),
        placement=tuple(names.lines(item.architecture)),
        architecture=item.architecture,
    )


def by_size(item: Measured) -> dict[str, Interval]:
    """Return mIoU by the size of the objects, over the seeds; sizes that do not occur are left out."""

    def read(size: str) -> Value:
        return lambda record: (record.miou_by_size or {}).get(size)

    found = {size: interval_of(item, read(size)) for size in SIZES}
    return {size: interval for size, interval in found.items() if interval}


def interval_of(item: Measured, value: Value) -> Interval | None:
    """Return a number's mean over the seeds with its t-interval; None where it was never measured.

    Where others have further seeds, it stands around the mean that is adjusted for that.
    """
    values = list(item.by_seed(value).values())
    return t_interval(values, looks=item.looks).around(item.adjusted(value)) if values else None


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
