"""Studies whose values may be compared, their searches in one box, and their winners seed by seed.

Hypervolumes are those of the searches' single trainings in a box around all of them together, so that one number means
the same for each. A search is luck as much as it is its sampler: only where each kind of search was run with several
seeds is anything said about kinds, from the differences of searches with the same seed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from reports.comparison.conditions import Conditions, conditions_of
from reports.front.summary import Measured, Summary, best_summary
from reports.objectives import Floats, to_minimise
from reports.quality import Quality
from reports.statistics.intervals import Difference, Interval, correct_for_many, paired_difference, t_interval
from reports.statistics.pareto import Box, box_around, hypervolume_history
from reports.view import StudyView
from reports.wording import big


@dataclass(frozen=True)
class Searched:
    """One study in the box of its group."""

    view: StudyView
    name: str
    """The study's name, with its path where several have the same."""
    kind: str
    """What it shares with repetitions of it: the space, the sampler, the trials."""
    volumes: tuple[float, ...]
    """Hypervolume after 1, 2, ... finished trials, baselines included; 1 is the box."""
    hours: tuple[float, ...]
    """Training time until then: the sum over trials, whatever number of workers shared it."""
    summary: Summary

    @property
    def seed(self) -> int:
        """The search's seed."""
        return int((self.view.experiment.get("search") or {}).get("seed") or 0)

    @property
    def sampler(self) -> str:
        """The sampler's name."""
        return str((self.view.experiment.get("search") or {}).get("sampler", "not given"))

    @property
    def num_architectures(self) -> int:
        """Distinct architectures that were trained to their end."""
        return len({trial.architecture.hash for trial in self.view.search if trial.measured})

    @cached_property
    def best(self) -> Measured | None:
        """What the search proposed that has the best quality, of what was confirmed, or else of the search itself."""
        return best_of(self.summary)

    def volume_after(self, trials: int) -> float:
        """Return the hypervolume after so many finished trials; of none it is 0."""
        return self.volumes[min(trials, len(self.volumes)) - 1] if self.volumes and trials else 0.0


@dataclass(frozen=True)
class Kind:
    """Searches that differ in nothing but their seed."""

    label: str
    members: tuple[Searched, ...]
    volume: Interval | None
    """Hypervolume after as many trials as all searches of the group have."""
    difference: Difference | None
    """To the first kind of the group, paired by the searches' seeds; None for the first."""


@dataclass(frozen=True)
class Winner:
    """A study's best against the first study's, on the seeds that both were confirmed with."""

    study: Searched
    item: Measured
    quality: Interval
    difference: Difference | None
    """None for the first study's."""
    reason: str = ""
    """Why there is no difference."""


@dataclass(frozen=True)
class Group:
    """Studies under equal conditions."""

    conditions: Conditions
    studies: tuple[Searched, ...]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives, the same for all."""
        return self.studies[0].view.objectives

    @property
    def quality(self) -> Quality:
        """What is shown of each architecture first."""
        return self.studies[0].summary.quality

    @cached_property
    def common_trials(self) -> int:
        """Finished trials that every search has."""
        return min(len(study.volumes) for study in self.studies)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of search in the order given; verdicts hold together (Holm)."""
        members: dict[str, list[Searched]] = {}
        for study in self.studies:
            members.setdefault(study.kind, []).append(study)
        by_seed = [{each.seed: each.volume_after(self.common_trials) for each in group} for group in members.values()]
        compared = correct_for_many([paired_difference(each, by_seed[0]) for each in by_seed[1:]])
        volumes = [t_interval(list(each.values())) if self.common_trials else None for each in by_seed]
        differences = [None, *compared]
        return tuple(
            Kind(label, tuple(group), volume, difference)
            for (label, group), volume, difference in zip(members.items(), volumes, differences, strict=True)
        )

    @cached_property
    def winners(self) -> tuple[Winner, ...]:
        """Each study's best against the first study's; verdicts hold together (Holm)."""
        found = [(study, study.best) for study in self.studies]
        known = [(study, best) for study, best in found if best is not None]
        if not known:
            return ()
        first, reference = known[0]
        reasons = [_why_not(study, best, first, reference) for study, best in known]
        compared = {
            i: self._difference(best, reference)
            for i, ((_, best), reason) in enumerate(zip(known, reasons, strict=True))
            if i and not reason
        }
        corrected = dict(zip(compared, correct_for_many(list(compared.values())), strict=True))
        return tuple(
            Winner(study, best, self._interval(best), corrected.get(i), reasons[i] if i else "")
            for i, (study, best) in enumerate(known)
        )

    def _difference(self, ours: Measured, theirs: Measured) -> Difference:
        value, first = self.quality.value, theirs.records[0]
        looks = ours.looks or theirs.looks
        return paired_difference(ours.by_seed(value), theirs.by_seed(value), step=self.quality.step(first), looks=looks)

    def _interval(self, item: Measured) -> Interval:
        return t_interval(list(item.by_seed(self.quality.value).values()), looks=item.looks)


def group_studies(views: Sequence[StudyView]) -> tuple[Group, ...]:
    """Return the studies in groups of equal conditions, in the order given."""
    by_conditions: dict[Conditions, list[StudyView]] = {}
    for view in views:
        by_conditions.setdefault(conditions_of(view), []).append(view)
    names = _names(views)
    return tuple(_group(conditions, members, names) for conditions, members in by_conditions.items())


def best_of(summary: Summary) -> Measured | None:
    """Return the proposal with the best quality; None where none was measured. Baselines are in every study."""
    value = summary.quality.value
    proposals = [(i, item) for i, item in enumerate(summary.items) if item.role == "proposal"]
    known = [(mean, -i) for i, item in proposals if (mean := item.adjusted(value)) is not None]
    return summary.items[-max(known)[1]] if known else None


def _group(conditions: Conditions, views: Sequence[StudyView], names: dict[int, str]) -> Group:
    points = [_points(view) for view in views]
    together = np.vstack([each for each, _ in points])
    box = box_around(together) if len(together) else None
    kinds = _kinds(views)
    studies = [
        _searched(view, names[id(view)], kind, box, *each)
        for view, kind, each in zip(views, kinds, points, strict=True)
    ]
    return Group(conditions, tuple(studies))


def _points(view: StudyView) -> tuple[Floats, list[float]]:
    """Return the finished trials' objectives, minimised, in the order in which they ended, and the hours until then."""
    trials = [trial for trial in view.search if trial.record is not None]
    trials.sort(key=lambda trial: (trial.finished_at or "9", trial.number))
    spent = accumulate((trial.record.wall_s / 3600 for trial in trials if trial.record), initial=0.0)
    hours = list(spent)[1:]
    measured = [(trial.values or (), hour) for trial, hour in zip(trials, hours, strict=True) if trial.measured]
    points = to_minimise([values for values, _ in measured], view.objectives)
    return points, [hour for _, hour in measured]


def _searched(view: StudyView, name: str, kind: str, box: Box | None, points: Floats, hours: list[float]) -> Searched:
    volumes = hypervolume_history(points, box) if box else np.zeros(0)
    return Searched(view, name, kind, tuple(volumes.tolist()), tuple(hours), best_summary(view))


def _names(views: Sequence[StudyView]) -> dict[int, str]:
    taken = [view.name for view in views]
    return {id(view): view.name if taken.count(view.name) == 1 else view.path for view in views}


def _kinds(views: Sequence[StudyView]) -> list[str]:
    """Name each study by what it does not share with all others; nothing counts but space, sampler and length."""
    facts = [_facts(view) for view in views]
    spaces = {space: number for number, space in enumerate(dict.fromkeys(fact["space"] for fact in facts), 1)}
    shown = []
    for view, fact in zip(views, facts, strict=True):
        words = [fact["sampler"]]
        words += [fact[key] for key in ("trials", "stopping") if len({other[key] for other in facts}) > 1]
        if len(spaces) > 1:
            words.append(f"space {spaces[fact['space']]} ({view.hosts_in_words}, {big(view.space_size)})")
        shown.append(", ".join(word for word in words if word))
    return shown


def _facts(view: StudyView) -> dict[str, str]:
    search = view.experiment.get("search") or {}
    space = {k: v for k, v in (view.experiment.get("space") or {}).items() if k != "description"}
    stopping = search.get("early_stopping")
    return {
        "sampler": str(search.get("sampler", "not given")),
        "trials": f"{search.get('trials')} trials",
        "stopping": "never stopped early" if stopping is None else f"stopped early at {stopping['rungs']}",
        "space": json.dumps(space, sort_keys=True, default=str),
    }


def _why_not(study: Searched, best: Measured, first: Searched, reference: Measured) -> str:
    """Return why a study's best cannot be compared with the first study's; empty if it can."""
    if "search" in (study.summary.stage, first.summary.stage):
        return "not confirmed: a best of single trainings looks better than it is"
    if study.summary.epochs != first.summary.epochs:
        return f"confirmed over {study.summary.epochs} epochs, not {first.summary.epochs}"
    return "the same architecture" if best.architecture.hash == reference.architecture.hash else ""
