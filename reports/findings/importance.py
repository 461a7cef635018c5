"""What each decision is worth at equal cost: a regression over all finished trials of one length.

A Bayesian linear regression (`reports.statistics.regression`) of the quality on decisions and costs. Costs count as
logarithms in steps of a tenth: a tenth more MACs, or parameters, is expected to be worth as much as a decision, more or
less, so that a cost that hardly differs explains nothing, and one that differs much is taken out of the decisions'
effects. The effect of a decision is the difference to leaving its sites as the host has them. How much the regression
explains is told from trials that it has not seen (cross-validation), with a bootstrap interval over trials.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.findings.placement_design import Design, design_of
from reports.findings.reliability import Estimate
from reports.front.goal import goal_of
from reports.objectives import Floats
from reports.statistics.regression import NOISE_RATIOS, Axes, Regression, grams_without
from reports.view import StudyView, TrialView
from search_spaces import Architecture, HostConfig
from trials.record import TrialRecord

Kind = Literal["module", "place", "module and place", "decision", "depth"]

LEAST = 10
"""Trials below which nothing is said."""
_FOLDS = 10
_FOLDS_OF_MANY = 5
_MANY = 2000
"""Trials from which on five folds do, whose trainings then hardly differ from all, and fewer bootstraps."""
_DRAWS = 2000
_BOOTSTRAPS, _BOOTSTRAPS_OF_MANY = 2000, 500
RATIOS = NOISE_RATIOS[NOISE_RATIOS < 4]
"""A prior that nothing may matter at all would take weak effects for none, with intervals that miss them."""
_COST_STEP = math.log(1.1)
_HOST_WEIGHT = 10.0
"""How many decisions one host may be worth."""


@dataclass(frozen=True)
class Effect:
    """What something is worth at equal cost, in natural units, with its 95 % credible interval."""

    kind: Kind
    module: str
    """Empty for a place."""
    where: str
    """A place, sites, or empty for a module wherever it stands."""
    num_with: int
    """Architectures that have it."""
    mean: float
    low: float
    high: float
    """For `depth`: of the last block's over the first block's."""

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Effects:
    """All effects of a study."""

    rows: tuple[Effect, ...]
    n: int
    """Trials."""
    epochs: int | None
    explained: Estimate | None
    """Share of the variance of unseen trials that is explained (R2; below 0: worse than their mean)."""
    reason: str = ""
    """Why there is nothing; else empty."""

    def of(self, kind: Kind) -> tuple[Effect, ...]:
        """Return the effects of a kind."""
        return tuple(row for row in self.rows if row.kind == kind)

    @property
    def says_something(self) -> bool:
        """Whether unseen trials are predicted better than by their mean, beyond doubt."""
        return self.explained is not None and self.explained.low > 0


class Model:
    """The regression of one quantity on placements and costs."""

    def __init__(self, design: Design, costs: Floats, hosts: Sequence[HostConfig], values: Floats) -> None:
        """Fit.

        Args:
            design: of (points,) architectures.
            costs: (points, costs), above 0.
            hosts: (points,)
            values: (points,), finite.
        """
        self.design = design
        self._hosts = list(dict.fromkeys(hosts))
        self._cost_centre = np.log(costs).mean(axis=0)
        self._numbers = {(site, d.module): i for i, d in enumerate(design.decisions) for site in d.sites}
        self._features = self._of(design.taken, costs, hosts)
        self._values = values
        self.regression = Regression(self._features, values, RATIOS)

    def _of(self, taken: Floats, costs: Floats, hosts: Sequence[HostConfig]) -> Floats:
        on = np.array([[_HOST_WEIGHT * (host == each) for each in self._hosts] for host in hosts]).reshape(
            len(hosts), -1
        )
        logs = (np.log(costs) - self._cost_centre) / _COST_STEP
        return np.hstack([taken @ self.design.features, logs, on if len(self._hosts) > 1 else on[:, :0]])

    def features_of(self, architectures: Sequence[Architecture], costs: Floats) -> Floats:
        """Return the features of further architectures; modules at sites where no trial had them count nothing."""
        taken = np.zeros((len(architectures), len(self.design.decisions)))
        for row, architecture in zip(taken, architectures, strict=True):
            for site, specs in architecture.items:
                for spec in specs:
                    if (number := self._numbers.get((site, spec.module))) is not None:
                        row[number] = 1.0
        return self._of(taken, costs, [architecture.host for architecture in architectures])

    def contrasts(self, weights: Floats) -> Floats:
        """Return sums over decisions, (sums, decisions), as sums over features; costs stay as they are."""
        own = weights @ self.design.features
        return np.hstack([own, np.zeros((len(weights), self._features.shape[1] - own.shape[1]))])

    def residuals(self) -> tuple[Floats, Floats]:
        """Return what is missed of unseen trials by the regression and by the mean of the seen ones, (points,) each."""
        n = len(self._values)
        fold = np.random.default_rng(0).permutation(n) % min(_FOLDS if n < _MANY else _FOLDS_OF_MANY, n)
        missed, by_mean = np.empty(n), np.empty(n)
        for k, gram in enumerate(grams_without(self._features, fold)):
            seen, unseen = fold != k, fold == k
            fitted = Regression(Axes(self._features[seen], gram), self._values[seen], RATIOS)
            missed[unseen] = self._values[unseen] - fitted.predict(self._features[unseen])
            by_mean[unseen] = self._values[unseen] - self._values[seen].mean()
        return missed, by_mean


def model_of(trials: Sequence[TrialView], value: Callable[[TrialRecord], float | None]) -> Model | None:
    """Return the regression of a quantity over finished trials of one length; None where it says nothing at all.

    That is with fewer than ten trials in which it was measured, without any module, or where all are equal.
    """
    rows = [(t.architecture, t.record, v) for t in trials if t.record and (v := value(t.record)) is not None]
    rows = [row for row in rows if math.isfinite(row[2])]
    design = design_of([architecture for architecture, _, _ in rows])
    values = np.array([v for _, _, v in rows])
    if len(rows) < LEAST or not design.decisions or float(np.ptp(values)) == 0:
        return None
    costs = np.array([[max(record.macs, 1), max(record.params, 1)] for _, record, _ in rows], dtype=float)
    return Model(design, costs, [architecture.host for architecture, _, _ in rows], values)


def trials_of_one_length(view: StudyView) -> list[TrialView]:
    """Return the search's finished trials of the most frequent length."""
    measured = [trial for trial in view.search if trial.measured and trial.record]
    counts = Counter(trial.record.epochs for trial in measured if trial.record)
    epochs = max(counts, key=lambda each: (counts[each], each), default=None)
    return [trial for trial in measured if trial.record and trial.record.epochs == epochs]


def effects_of(view: StudyView) -> Effects:
    """Return the effects of a study's decisions on its quality; without enough trials there is a reason instead."""
    trials = trials_of_one_length(view)
    epochs = trials[0].record.epochs if trials and trials[0].record else None
    model = model_of(trials, goal_of(view.objectives, (t.record for t in trials if t.record)).value)
    if model is None:
        few = f"{len(trials)} finished trials of one length are too few (it takes {LEAST}, which differ)"
        return Effects((), len(trials), epochs, None, few)
    missed, by_mean = model.residuals()
    return Effects(tuple(effects_in(model)), len(missed), epochs, explained(missed, by_mean))


def effects_in(model: Model) -> list[Effect]:
    """Return the effects of all decisions and of what they have in common."""
    named = named_effects(model.design)
    contrasts = model.contrasts(np.array([row for *_, row, _ in named]))
    drawn = model.regression.draw_effects(contrasts, np.random.default_rng(0), _DRAWS)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    means = contrasts @ model.regression.weights
    return [
        Effect(kind, module, where, num, float(means[i]), float(low[i]), float(high[i]))
        for i, (kind, module, where, _, num) in enumerate(named)
    ]


Named = tuple[Kind, str, str, Floats, int]
"""Kind, module, where, what each decision counts in it, (decisions,), and how many architectures have it."""


def named_effects(design: Design) -> list[Named]:
    """Return what is told of a design: means over modules, places and both, slopes over depth, and single decisions."""
    groups: dict[tuple[Kind, str, str], list[int]] = {}
    for i, decision in enumerate(design.decisions):
        groups.setdefault(("module", decision.module, ""), []).append(i)
        groups.setdefault(("place", "", decision.area), []).append(i)
        groups.setdefault(("module and place", decision.module, decision.area), []).append(i)
        groups.setdefault(("decision", decision.module, decision.where), []).append(i)
    named = [_named(design, *key, members, np.full(len(members), 1 / len(members))) for key, members in groups.items()]
    for (kind, module, _), members in groups.items():
        depths = np.array([design.decisions[i].depth for i in members])
        if kind == "module" and len(set(depths.round(9))) > 2:
            centred = depths - depths.mean()
            named.append(_named(design, "depth", module, "", members, centred / (centred @ centred)))
    return named


def _named(design: Design, kind: Kind, module: str, where: str, members: Sequence[int], weights: Floats) -> Named:
    row = np.zeros(len(design.decisions))
    row[list(members)] = weights
    return kind, module, where, row, int((design.taken[:, list(members)].sum(axis=1) > 0).sum())


def explained(missed: Floats, by_mean: Floats) -> Estimate:
    """Return R2 out of sample with a percentile interval over trials."""
    n = len(missed)
    rng, squares = np.random.default_rng(0), np.stack([missed**2, by_mean**2], axis=1)
    draws = _BOOTSTRAPS if n < _MANY else _BOOTSTRAPS_OF_MANY
    sums = np.array([np.bincount(rng.integers(n, size=n), minlength=n) @ squares for _ in range(draws)])
    kept = sums[sums[:, 1] > 0]
    low, high = np.percentile(1 - kept[:, 0] / kept[:, 1], [2.5, 97.5])
    return Estimate(1 - float(missed @ missed) / float(by_mean @ by_mean), float(low), float(high), n)
