"""How far trainings of one network differ: the spread between seeds, and a network compared with itself (A/A).

The spread is told apart into what a seed does to all architectures alike (the split, the host's first weights), which
pairing takes out of differences, and the rest, which it does not: the two-way layout without interaction (Searle, 1971,
"Linear models", section 7.1). The interval of the rest is that of chi-square, that of the sum the one of Graybill and
Wang (1980, "Confidence intervals on nonnegative linear combinations of variances"); Satterthwaite's covers 90 % here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, chdtri

from reports.front.goal import goal_in
from reports.front.summary import Summary
from reports.statistics.intervals import paired_difference
from reports.statistics.seed_effects import fit_additive

Floats = npt.NDArray[np.float64]

LEAST_SEEDS = 4
"""Of one architecture, for a comparison with itself: two halves of two."""
_SPLITS = 40
_LEVEL = 0.95


@dataclass(frozen=True)
class Sd:
    """A standard deviation with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """How far single trainings differ though the architecture is the same."""

    between_seeds: Sd
    """Of trainings of one architecture with different seeds."""
    rest: Sd
    """Of that, what pairing by seed does not take out."""
    num_architectures: int
    num_seeds: int

    def of_difference(self, num_seeds: int) -> float:
        """Return the standard deviation of a paired difference of two means over so many seeds."""
        return self.rest.value * math.sqrt(2 / num_seeds)


@dataclass(frozen=True)
class SelfComparison:
    """Networks compared with themselves, which should be called better or worse at the nominal rate only."""

    nominal: float
    found: float
    """Share of comparisons that said better or worse."""
    low: float
    high: float
    """Its 95 % interval, as if each architecture were one comparison."""
    num_architectures: int
    num_comparisons: int
    num_seeds: int
    """In each half, at the least."""


def spread_of(summary: Summary) -> Spread | None:
    """Return the spread between the seeds that all architectures share; None with fewer than two of either."""
    table = _shared(summary)
    if table is None:
        return None
    rows, columns = table.shape
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (rows - 1) * (columns - 1)
    of_rest = float((rest**2).sum()) / degrees
    of_seeds = float(np.var(table.mean(axis=0), ddof=1))  # with the rest's share, 1 / rows of it
    parts = ((of_seeds, columns - 1), (of_rest * (rows - 1) / rows, degrees))
    return Spread(_sd(parts), _sd([(of_rest, degrees)]), rows, columns)


def compare_with_itself(summary: Summary) -> SelfComparison | None:
    """Split each architecture's seeds at random into halves and compare these as two architectures are compared.

    The halves share no seed, so what a seed does to all alike is taken out first, as pairing would. None where no
    architecture has four seeds.
    """
    goal = goal_in(summary)
    rows = [row for item in summary.items if len(row := item.by_seed(goal.value)) >= 1]
    seeds = sorted({seed for row in rows for seed in row})
    if not rows or max(map(len, rows)) < LEAST_SEEDS:
        return None
    table = np.array([[row.get(seed, np.nan) for seed in seeds] for row in rows])
    fitted = fit_additive(table)
    alike = fitted.means[:, None] + fitted.rest
    step = goal.step(summary.items[0].records[0])
    rng = np.random.default_rng(0)
    shares, smallest = [], len(seeds)
    for values in alike:
        own = values[np.isfinite(values)]
        if len(own) >= LEAST_SEEDS:
            half = len(own) // 2
            smallest = min(smallest, half)
            shares.append(float(np.mean([_differs(rng.permutation(own), half, step) for _ in range(_SPLITS)])))
    found, n = float(np.mean(shares)), len(shares)
    low, high = betaincinv(n * found + 0.5, n * (1 - found) + 0.5, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return SelfComparison(1 - _LEVEL, found, float(low), float(high), n, n * _SPLITS, smallest)


def _differs(values: Floats, half: int, step: float) -> bool:
    ours, theirs = (dict(enumerate(part.tolist())) for part in (values[:half], values[half : 2 * half]))
    return paired_difference(ours, theirs, step=step).verdict != "not distinguishable"


def _shared(summary: Summary) -> Floats | None:
    """Return the values, (architectures, seeds), over the seeds that all have."""
    value = goal_in(summary).value
    given = [item.by_seed(value) for item in summary.items]
    finite = [{seed: number for seed, number in row.items() if math.isfinite(number)} for row in given]
    rows: Sequence[dict[int, float]] = [row for row in finite if row]
    shared = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    if len(rows) < 2 or len(shared) < 2:
        return None
    return np.array([[row[seed] for seed in shared] for row in rows])


def _sd(parts: Sequence[tuple[float, int]]) -> Sd:
    """Return the root of a sum of independent variances, each with its degrees of freedom; of one it is exact."""
    total = sum(variance for variance, _ in parts)
    below = above = 0.0
    for variance, degrees in parts:
        least, most = chdtri(degrees, [(1 + _LEVEL) / 2, (1 - _LEVEL) / 2])
        below += (variance * (1 - degrees / most)) ** 2
        above += (variance * (degrees / least - 1)) ** 2
    return Sd(math.sqrt(total), math.sqrt(max(total - math.sqrt(below), 0.0)), math.sqrt(total + math.sqrt(above)))
