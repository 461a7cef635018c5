"""The front: every architecture at one fidelity, with the mean over its seeds, and which of them nothing dominates.

Trainings of different lengths are never compared: the search and its confirmation give two separate summaries, and of
a confirmation that was run at several lengths only one counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from reports.objectives import to_minimise
from reports.pareto import knee, nondominated
from reports.view import Role, StudyView, TrialView
from search_spaces import Architecture
from trials.record import TrialRecord

Stage = Literal["confirm", "search"]


@dataclass(frozen=True)
class Measured:
    """One architecture with all its finished trainings of one length."""

    architecture: Architecture
    number: int | None
    """Of its trial in the search; None if it is not there."""
    role: Role
    label: str | None
    records: tuple[TrialRecord, ...]
    """One per seed, in the order of the seeds; never empty."""
    values: tuple[float, ...]
    """The objectives' means over the seeds."""
    on_front: bool = False

    @property
    def name(self) -> str:
        """What a reader calls it: the baseline's label, else the architecture's id."""
        return self.label or self.architecture.id

    def by_seed(self, value: Callable[[TrialRecord], float | None]) -> dict[int, float]:
        """Return a number of each record by its seed, without those that were not measured."""
        found = {record.seed: value(record) for record in self.records}
        return {seed: number for seed, number in found.items() if number is not None}

    def mean(self, value: Callable[[TrialRecord], float | None]) -> float | None:
        """Return the mean of a number over the seeds; None where it was never measured."""
        found = list(self.by_seed(value).values())
        return fmean(found) if found else None


@dataclass(frozen=True)
class Summary:
    """All architectures measured in one stage at one length, and their front."""

    stage: Stage
    epochs: int | None
    """Length of each training; None without any."""
    objectives: tuple[str, ...]
    items: tuple[Measured, ...]
    num_left_out: int = 0
    """Finished trainings of other lengths, which cannot be compared."""

    @cached_property
    def front(self) -> tuple[Measured, ...]:
        """What nothing dominates, the cheapest (in MACs) first."""
        return tuple(sorted((item for item in self.items if item.on_front), key=_by_cost))

    @property
    def num_seeds(self) -> int:
        """The most seeds that any architecture was trained with; 0 without any."""
        return max((len(item.records) for item in self.items), default=0)

    @cached_property
    def knee(self) -> Measured | None:
        """The front's best compromise; None with one objective (there is nothing to weigh) or no front."""
        if len(self.objectives) < 2 or not self.items:
            return None
        return self.items[knee(to_minimise([item.values for item in self.items], self.objectives))]

    def find(self, architecture: Architecture) -> Measured | None:
        """Return the entry of an architecture."""
        return next((item for item in self.items if item.architecture.hash == architecture.hash), None)


def summarise_search(view: StudyView) -> Summary:
    """Return the search's trials; the front holds baselines too where nothing dominates them."""
    return _summarise(view, "search", [trial for trial in view.search if trial.measured])


def summarise_confirm(view: StudyView) -> Summary:
    """Return the confirmation's trials.

    Where they were run at several lengths, those of the experiment's present `confirm.epochs` count, else the longest.
    """
    trials = [trial for trial in view.confirm if trial.measured]
    lengths = {_record(trial).epochs for trial in trials}
    wanted = (view.experiment.get("confirm") or {}).get("epochs")
    epochs = wanted if wanted in lengths else max(lengths, default=None)
    kept = [trial for trial in trials if _record(trial).epochs == epochs]
    return _summarise(view, "confirm", kept, num_left_out=len(trials) - len(kept))


def best_summary(view: StudyView) -> Summary:
    """Return the confirmation if anything of it has finished, else the search."""
    confirmed = summarise_confirm(view)
    return confirmed if confirmed.items else summarise_search(view)


def _summarise(view: StudyView, stage: Stage, trials: Sequence[TrialView], num_left_out: int = 0) -> Summary:
    numbers = {trial.architecture.hash: trial.number for trial in reversed(view.search)}
    groups: dict[str, list[TrialView]] = {}
    for trial in trials:
        groups.setdefault(trial.architecture.hash, []).append(trial)
    values = [_mean_values(group) for group in groups.values()]
    mask = nondominated(to_minimise(values, view.objectives))
    items = []
    for (key, group), means, on_front in zip(groups.items(), values, mask, strict=True):
        records = sorted((_record(trial) for trial in group), key=lambda record: record.seed)
        first = group[0]
        items.append(
            Measured(
                first.architecture, numbers.get(key), first.role, first.label, tuple(records), means, bool(on_front)
            )
        )
    epochs = _record(trials[0]).epochs if trials else None
    return Summary(stage, epochs, view.objectives, tuple(items), num_left_out)


def _mean_values(group: Sequence[TrialView]) -> tuple[float, ...]:
    return tuple(fmean(column) for column in zip(*(trial.values or () for trial in group), strict=True))


def _record(trial: TrialView) -> TrialRecord:
    assert trial.record is not None  # `measured` has seen to it
    return trial.record


def _by_cost(item: Measured) -> tuple[float, float]:
    return item.records[0].macs, -(item.records[0].accuracy or 0.0)
