"""The front: every architecture at one fidelity, with the mean over its seeds, and which of them nothing dominates.

Trainings of different lengths are never compared: the search and its confirmation give two separate summaries, and of
a confirmation that was run at several lengths only one counts.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Literal

import numpy as np

from reports.objectives import OBJECTIVES, QUALITY, to_minimise
from reports.quality import Quality, quality_of
from reports.statistics.pareto import knee, nondominated
from reports.statistics.seed_effects import fit_additive
from reports.statistics.sequential import Looks
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
    """The objectives' means over the seeds; in a confirmation, of what only training can tell, `adjusted` ones."""
    on_front: bool = False
    looks: Looks | None = None
    """After how many seeds it may have been looked at, where the number of seeds was not fixed."""
    peers: tuple[tuple[TrialRecord, ...], ...] = ()
    """In a confirmation: the records of all that was measured with it, its own included."""
    is_bare_host: bool = False
    """It is a host of the space without attention."""

    @property
    def name(self) -> str:
        """What a reader calls it: the baseline's label, else the architecture's id."""
        return self.label or self.architecture.id

    def by_seed(self, value: Callable[[TrialRecord], float | None]) -> dict[int, float]:
        """Return a number of each record by its seed, without those that were not measured or are not finite."""
        return _by_seed(self.records, value)

    def mean(self, value: Callable[[TrialRecord], float | None]) -> float | None:
        """Return the mean of a number over the seeds; None where it was never measured."""
        found = list(self.by_seed(value).values())
        return fmean(found) if found else None

    def adjusted(self, value: Callable[[TrialRecord], float | None]) -> float | None:
        """Return the mean as if it had all seeds that any of its peers has; where all have the same, the plain mean."""
        groups = [_by_seed(group, value) for group in self.peers]
        measured = [group for group in groups if group]
        if self.records not in self.peers or len({frozenset(group) for group in measured}) < 2:
            return self.mean(value)
        own = groups[self.peers.index(self.records)]
        if not own:
            return None
        seeds = sorted(set().union(*measured))
        table = np.array([[group.get(seed, np.nan) for seed in seeds] for group in measured])
        return float(fit_additive(table).means[measured.index(own)])


def _by_seed(records: Sequence[TrialRecord], value: Callable[[TrialRecord], float | None]) -> dict[int, float]:
    found = {record.seed: value(record) for record in records}
    return {seed: number for seed, number in found.items() if number is not None and math.isfinite(number)}


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
    looks: Looks | None = None
    """After how many seeds differences may have been looked at, where the number of seeds was not fixed (a race)."""

    @cached_property
    def front(self) -> tuple[Measured, ...]:
        """What nothing dominates, the cheapest (in MACs) first."""
        return tuple(sorted((item for item in self.items if item.on_front), key=_by_cost))

    @property
    def quality(self) -> Quality:
        """What is shown of each architecture first."""
        return quality_of(record for item in self.items for record in item.records)

    @property
    def num_seeds(self) -> int:
        """The most seeds that any architecture was trained with; 0 without any."""
        return max((len(item.records) for item in self.items), default=0)

    @property
    def seeds_in_words(self) -> str:
        """How many seeds the architectures have: `3 seeds`, `2 to 8 seeds`."""
        counts = [len(item.records) for item in self.items] or [0]
        few = f"{min(counts)} to " if min(counts) < max(counts) else ""
        return f"{few}{max(counts)} seed{'' if max(counts) == 1 else 's'}"

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
    return _summarise(view, "confirm", kept, _looks(view, kept), num_left_out=len(trials) - len(kept))


def _looks(view: StudyView, trials: Sequence[TrialView]) -> Looks | None:
    """Return the looks of a race; also of one that was made plain later, which then has more seeds than planned."""
    plan = view.experiment.get("confirm") or {}
    first = max(2, plan.get("seeds") or 0)
    most = max(Counter(trial.architecture.hash for trial in trials).values(), default=0)
    last = max(most, plan.get("max_seeds") or 0)
    return Looks(first, last) if plan.get("seeds") and last > first else None


def best_summary(view: StudyView) -> Summary:
    """Return the confirmation if anything of it has finished, else the search."""
    confirmed = summarise_confirm(view)
    return confirmed if confirmed.items else summarise_search(view)


def _summarise(
    view: StudyView, stage: Stage, trials: Sequence[TrialView], looks: Looks | None = None, num_left_out: int = 0
) -> Summary:
    numbers = {trial.architecture.hash: trial.number for trial in reversed(view.search)}
    groups: dict[str, list[TrialView]] = {}
    for trial in trials:
        groups.setdefault(trial.architecture.hash, []).append(trial)
    peers = tuple(tuple(sorted(map(_record, group), key=lambda r: r.seed)) for group in groups.values())
    items = []
    for (key, group), records in zip(groups.items(), peers, strict=True):
        first, means = group[0], _mean_values(group)
        item = Measured(first.architecture, numbers.get(key), first.role, first.label, records, means, looks=looks)
        item = replace(item, is_bare_host=view.is_bare_host(first.architecture))
        if stage == "confirm":  # the search has one seed
            item = replace(item, peers=peers)
            item = replace(item, values=_adjusted_values(view.objectives, item))
        items.append(item)
    mask = nondominated(to_minimise([item.values for item in items], view.objectives))
    items = [replace(item, on_front=bool(on_front)) for item, on_front in zip(items, mask, strict=True)]
    epochs = _record(trials[0]).epochs if trials else None
    return Summary(stage, epochs, view.objectives, tuple(items), num_left_out, looks)


def _mean_values(group: Sequence[TrialView]) -> tuple[float, ...]:
    return tuple(fmean(column) for column in zip(*(trial.values or () for trial in group), strict=True))


def _adjusted_values(objectives: Sequence[str], item: Measured) -> tuple[float, ...]:
    """Return the values, with those that only training can tell adjusted for seeds that others have."""
    adjusted = [item.adjusted(OBJECTIVES[name].value) if name in QUALITY else None for name in objectives]
    return tuple(v if a is None else a for v, a in zip(item.values, adjusted, strict=True))


def _record(trial: TrialView) -> TrialRecord:
    assert trial.record is not None  # `measured` has seen to it
    return trial.record


def _by_cost(item: Measured) -> tuple[float, float]:
    first = item.records[0]
    return first.macs, -(quality_of(item.records).value(first) or 0.0)
