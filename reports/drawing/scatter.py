"""What the plots of quality against cost show: panels of points, one panel per length of training."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reports import wording
from reports.front.summary import Measured, Stage, Summary
from reports.front.tables import by_size, interval_of, latency_of
from reports.objectives import OBJECTIVES, QUALITY, Objective
from reports.quality import ACCURACY, accuracy_of, quality_of
from reports.view import TrialView
from search_spaces import Architecture

Look = Literal["host", "baseline", "front", "trial", "stopped"]
LOOKS: tuple[Look, ...] = ("stopped", "trial", "front", "baseline", "host")
"""In the order in which they are drawn, the last on top."""
COSTS = ("macs", "params", "latency_ms", "memory_bytes")


@dataclass(frozen=True)
class Axis:
    """A quantity with the scale on which it is drawn."""

    name: str
    title: str
    scale: float
    """A drawn value is the natural one times this."""


@dataclass(frozen=True)
class Mark:
    """One architecture in a panel, in natural units."""

    name: str
    look: Look
    on_front: bool
    """On the front of all objectives of the experiment, not just of the two that are drawn."""
    quality: float
    low: float | None
    high: float | None
    costs: dict[str, float]
    """From an axis' name to the value; an axis is missing where it was not measured."""
    facts: tuple[str, ...]
    """What a reader is told who points at the mark, in lines that fit a phone."""
    architecture: Architecture


@dataclass(frozen=True)
class Panel:
    """All architectures of one stage."""

    stage: Stage
    title: str
    marks: tuple[Mark, ...]

    def of(self, *looks: Look) -> tuple[Mark, ...]:
        """Return the marks with one of these looks."""
        return tuple(mark for mark in self.marks if mark.look in looks)

    @property
    def finished(self) -> tuple[Mark, ...]:
        """The marks that were trained to their end, which alone can be compared."""
        return tuple(mark for mark in self.marks if mark.look != "stopped")

    @property
    def several_hosts(self) -> bool:
        """Whether there are so many baselines that the bare hosts alone have room for their names."""
        return len(self.of("host")) > 1


@dataclass(frozen=True)
class Scatter:
    """Quality against each cost."""

    quality: Axis
    maximise: bool
    """Whether more quality is up (accuracy, mIoU), or less is better (log-loss)."""
    costs: tuple[Axis, ...]
    panels: tuple[Panel, ...]
    """The confirmation first; only stages in which something finished."""


def scatter_of(summaries: Sequence[Summary], stopped: Sequence[TrialView] = ()) -> Scatter:
    """Return the plots of some summaries; in that of the search, trials that were stopped early are marked apart.

    The quality is mIoU or accuracy, or log-loss where that alone is an objective. MACs and parameters are always among
    the costs, latency and memory where they were measured.
    """
    objectives = summaries[0].objectives if summaries else ()
    records = [record for summary in summaries for item in summary.items for record in item.records]
    name = next((name for name in QUALITY if name in objectives), quality_of(records).name)
    quality = OBJECTIVES[name]
    if name == ACCURACY.name:
        quality = replace(quality, title=f"validation {accuracy_of(records).words}")
    panels = tuple(
        _panel(summary, quality, stopped if summary.stage == "search" else ()) for summary in summaries if summary.items
    )
    costs = []
    for cost in COSTS:
        values = [mark.costs[cost] for panel in panels for mark in panel.marks if cost in mark.costs]
        if values or cost in ("macs", "params"):
            costs.append(_axis(OBJECTIVES[cost], max(values, default=0.0)))
    return Scatter(_axis(quality, 1.0), quality.maximise, tuple(costs), panels)


def staircase(marks: Iterable[Mark], cost: str, *, maximise: bool) -> list[tuple[float, float]]:
    """Return the corners (cost, quality) of the best quality at up to each cost, the cheapest first.

    To be drawn as steps: the line stays level until the next corner's cost. Marks without this cost are left out.
    """
    sign = -1.0 if maximise else 1.0
    corners: list[tuple[float, float]] = []
    for mark in sorted((m for m in marks if cost in m.costs), key=lambda m: (m.costs[cost], sign * m.quality)):
        if not corners or sign * mark.quality < sign * corners[-1][1]:
            corners.append((mark.costs[cost], mark.quality))
    return corners


def _panel(summary: Summary, quality: Objective, stopped: Sequence[TrialView]) -> Panel:
    stage = "Confirmed" if summary.stage == "confirm" else "Search"
    epochs = wording.plural(summary.epochs or 0, "epoch")
    if summary.num_seeds > 1:
        title = f"{stage}: {epochs}, mean over {summary.seeds_in_words} with 95 % intervals"
    else:
        title = f"{stage}: {epochs}, one training each"
    marks = [_stopped_mark(trial, quality) for trial in stopped]
    marks += [_mark(item, quality) for item in summary.items]
    return Panel(summary.stage, title, tuple(mark for mark in marks if mark))


def _mark(item: Measured, quality: Objective) -> Mark | None:
    interval = interval_of(item, quality.value)
    if interval is None or not math.isfinite(interval.mean):
        return None
    look: Look = "trial"
    if item.on_front:
        look = "front"
    if item.role == "baseline":
        look = "host" if item.is_bare_host else "baseline"
    costs = {name: item.mean(OBJECTIVES[name].value) for name in COSTS}
    return Mark(
        name=item.name,
        look=look,
        on_front=item.on_front,
        quality=interval.mean,
        low=interval.low,
        high=interval.high,
        costs=_finite(costs),
        facts=tuple(_facts(item)),
        architecture=item.architecture,
    )


def _finite(costs: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in costs.items() if value is not None and math.isfinite(value)}


def _stopped_mark(trial: TrialView, quality: Objective) -> Mark | None:
    """Return a stopped trial with the quality that it had then."""
    record = trial.record
    value = None if record is None else quality.value(record)
    if record is None or value is None or not math.isfinite(value):
        return None
    costs = {name: OBJECTIVES[name].value(record) for name in COSTS}
    facts = (
        f"{trial.architecture.id} · trial {trial.number}",
        f"stopped after {wording.plural(record.epochs, 'epoch')}",
        f"log-loss {record.loss:.3f} then" if record.loss is not None else "",
    )
    return Mark(
        name=trial.name,
        look="stopped",
        on_front=False,
        quality=value,
        low=None,
        high=None,
        costs=_finite(costs),
        facts=tuple(line for line in facts if line),
        architecture=trial.architecture,
    )


def _facts(item: Measured) -> list[str]:
    first, architecture = item.records[0], item.architecture.id
    number = "" if item.number is None else f" · trial {item.number}"
    latency = item.mean(lambda record: record.latency_ms)
    quality, accuracy = quality_of(item.records), accuracy_of(item.records)
    lines = [
        f"{item.label} ({architecture}){number}" if item.label else f"{architecture}{number}",
        f"{quality.words} {wording.share(interval_of(item, quality.value))} (n = {len(item.records)})",
        f"log-loss {wording.loss(interval_of(item, lambda record: record.loss))}",
        f"{wording.amount(first.macs)} MACs, {wording.count(first.params)} parameters",
    ]
    if quality is not ACCURACY:
        lines.insert(2, f"{accuracy.words} {wording.share(interval_of(item, accuracy.value))}")
        lines[2:2] = [f"mIoU of {size} objects {wording.share(mean)}" for size, mean in by_size(item).items()]
    if latency is not None:
        lines.append(f"latency {latency_of(latency)}")
    if memory := item.mean(lambda record: record.memory_bytes):
        lines.append(f"peak training memory {wording.memory(memory)}")
    return lines


def _axis(objective: Objective, largest: float) -> Axis:
    title = objective.title[0].upper() + objective.title[1:]
    if objective.name in ("accuracy", "miou"):
        return Axis(objective.name, f"{title} (%)", 100.0)
    if objective.name == "memory_bytes":
        return Axis(objective.name, f"{title} (MiB)", 2.0**-20)
    if objective.unit:
        return Axis(objective.name, f"{title} ({objective.unit})", 1.0)
    for size, word in ((1e9, "billions"), (1e6, "millions"), (1e4, "thousands")):
        if largest >= size:
            return Axis(objective.name, f"{title}, {word}", (1e-3 if size == 1e4 else 1 / size))
    return Axis(objective.name, title, 1.0)
