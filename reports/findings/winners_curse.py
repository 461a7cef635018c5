"""How much of the best of many is luck: what the best mean is expected to be worth when it is measured again.

Whoever takes the best of many noisy means takes luck with it. A hierarchical model gives each architecture its own
expectation: true values scatter around a common mean, measurements normally around those, and what is expected of the
best, given all of them, needs no further correction for having been picked (Efron, 2011, "Tweedie's formula and
selection bias"; Morris, 1983, "Parametric empirical Bayes inference"). True values are normal, but for one in thirty
that may lie anywhere in the range (a contaminated normal: Tukey, 1960, "A survey of sampling from contaminated
distributions"): with a normal alone, one architecture that is truly far ahead is moved by twice its standard error.
The spread of the true values is not taken as estimated but integrated over a flat prior, as Gelman (2006, "Prior
distributions for variance parameters in hierarchical models", section 2) has it: with few architectures estimates of
zero are common, and call all equal.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from reports.front.goal import Goal, goal_in
from reports.front.summary import Measured, Summary
from reports.statistics.intervals import binomial_error
from reports.statistics.seed_effects import fit_additive

Floats = npt.NDArray[np.float64]

LEAST = 4
"""Architectures below which nothing is said."""
_GRID = 61
_STRAYING = 1 / 30
"""Share of true values that may lie anywhere."""
_MOST = 1000
"""Of more architectures, as many at random tell the spread."""
_LEVEL = 0.95


@dataclass(frozen=True)
class Shrunk:
    """What is expected of each true value, and how uncertain it is."""

    means: Floats
    sds: Floats


@dataclass(frozen=True)
class Noise:
    """How much one training of an architecture moves beside what its seed does to all alike."""

    sd: float
    degrees: int
    """Degrees of freedom; 0 where it was not measured but follows from the number of images."""
    seed_error: float = 0.0
    """Standard error of what the seeds do to all alike; 0 where that is not known."""
    num_seeds: int = 0


@dataclass(frozen=True)
class Correction:
    """The best of a stage as it was found, and without its luck."""

    item: Measured
    found: float
    corrected: float
    low: float
    high: float
    """Of the corrected value, 95 %."""
    num_candidates: int
    noise: Noise

    @property
    def luck(self) -> float:
        """By how much the found value is expected to be too good."""
        return abs(self.found - self.corrected)


def shrink(values: Floats, errors: Floats) -> Shrunk:
    """Return what is expected of each true value, given all.

    Args:
        values: (n,), finite.
        errors: (n,), standard errors; where one is 0 its value is believed.
    """
    spread = float(np.ptp(values)) or 1.0
    errors = np.maximum(errors, 1e-6 * spread)
    centres, taus = np.meshgrid(
        np.linspace(values.min(), values.max(), _GRID), np.linspace(0.0, spread, _GRID), indexing="ij"
    )
    evidence = sum(_log_mixture(values[i], errors[i], centres, taus, spread)[0] for i in range(len(values)))
    weight = np.exp(evidence - np.max(evidence))
    weight /= weight.sum()
    means, sds = np.empty(len(values)), np.empty(len(values))
    for i, (value, error) in enumerate(zip(values, errors, strict=True)):
        _, stray = _log_mixture(value, error, centres, taus, spread)
        parts = [(1 - stray, taus**2), (stray, np.full_like(taus, spread**2))]
        mean = square = 0.0
        for share, variance in parts:
            kept = variance / (variance + error**2)
            at = kept * value + (1 - kept) * centres
            mean += float((weight * share * at).sum())
            square += float((weight * share * (kept * error**2 + (at - value) ** 2)).sum())
        means[i], sds[i] = mean, math.sqrt(max(square - (mean - value) ** 2, 0.0))
    return Shrunk(means, sds)


def _log_mixture(value: float, error: float, centres: Floats, taus: Floats, spread: float) -> tuple[Floats, Floats]:
    """Return the log-likelihood of one value, and the probability that its true value strays from the normal ones."""

    def log_normal(variance: Floats) -> Floats:
        found: Floats = -0.5 * (np.log(variance) + (value - centres) ** 2 / variance)
        return found

    near = math.log(1 - _STRAYING) + log_normal(taus**2 + error**2)
    far = math.log(_STRAYING) + log_normal(np.full_like(taus, spread**2 + error**2))
    both: Floats = np.logaddexp(near, far)
    return both, np.exp(far - both)


def correct_best(summary: Summary, noise: Noise | None = None) -> Correction | None:
    """Return the correction of the architecture with the best mean; ties: the first.

    None with fewer than four architectures, or where the noise is not known.

    Args:
        summary: the stage.
        noise: of one training; default: from the seeds of the stage itself, else what the number of images gives.
    """
    goal = goal_in(summary)
    value = goal.value
    found = [(item, mean) for item in summary.items if (mean := item.adjusted(value)) is not None]
    found = [(item, mean) for item, mean in found if math.isfinite(mean)]
    noise = noise or noise_of(summary) or _of_images(summary, goal)
    if len(found) < LEAST or noise is None:
        return None
    means = np.array([mean for _, mean in found])
    errors = np.array([noise.sd / math.sqrt(len(item.by_seed(value))) for item, _ in found])
    best = int(np.argmax(goal.sign * means))
    others = np.random.default_rng(0).permutation(len(means))[:_MOST]
    told = np.array([best, *others[others != best]])
    shrunk = shrink(means[told], errors[told])
    half = math.hypot(
        _quantile(noise.degrees) * float(shrunk.sds[0]), _quantile(noise.num_seeds - 1) * noise.seed_error
    )
    corrected = float(shrunk.means[0])
    return Correction(
        found[best][0], float(means[best]), corrected, corrected - half, corrected + half, len(found), noise
    )


def noise_of(summary: Summary) -> Noise | None:
    """Return the noise from the seeds of a stage; None with fewer than two architectures that share two seeds."""
    value = goal_in(summary).value
    rows = [row for item in summary.items if (row := item.by_seed(value))]
    seeds = sorted({seed for row in rows for seed in row})
    if len(rows) < 2 or len(seeds) < 2:
        return None
    table = np.array([[row.get(seed, np.nan) for seed in seeds] for row in rows])
    degrees = int(np.isfinite(table).sum()) - len(rows) - len(seeds) + 1
    if degrees < 1:
        return None
    fitted = fit_additive(table)
    variance = float(np.nansum(fitted.rest**2)) / degrees
    effects = np.nanmean(table - fitted.means[:, None], axis=0)
    num = len(seeds)
    error = math.sqrt(float(np.var(effects, ddof=1)) / num)  # the rest's share of it, variance / rows, stays in
    return Noise(math.sqrt(variance), degrees, error, num)


def _of_images(summary: Summary, goal: Goal) -> Noise | None:
    """Return what chance in which images are kept for validation does to one training, at the least."""
    if not goal.counts_images:
        return None
    records = [r for item in summary.items for r in item.records if r.accuracy is not None and r.num_validation > 0]
    if not records:
        return None
    typical = float(np.median([r.accuracy for r in records if r.accuracy is not None]))
    return Noise(binomial_error(min(max(typical, 0.0), 1.0), records[0].num_validation), 0)


def _quantile(degrees: int) -> float:
    """Return the two-sided quantile of Student's t; of the normal distribution where there are no degrees."""
    return float(stdtrit(degrees if degrees > 0 else math.inf, (1 + _LEVEL) / 2))
