"""How sure a mean or a difference over seeds is: Student's t, paired by seed, corrected for many comparisons.

Holm, 1979, "A simple sequentially rejective multiple test procedure". Where the number of seeds was not fixed before
the first of them was seen, the levels are those of `reports.statistics.sequential`: intervals are repeated confidence
intervals (Jennison and Turnbull, 1989, "Interim analyses: the repeated confidence interval approach"), which all cover
together, and p-values count all looks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtr, stdtrit

from reports.statistics.sequential import Looks

Verdict = Literal["better", "worse", "not distinguishable"]
_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers it at `level`."""

    mean: float
    low: float | None
    """None if there were fewer than two values."""
    high: float | None
    n: int
    level: float = _LEVEL

    @property
    def half_width(self) -> float | None:
        """Half the interval's width; None if there is no interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def around(self, mean: float | None) -> "Interval":
        """Return the interval moved to another mean; None leaves it."""
        if mean is None or mean == self.mean:
            return self
        half = self.half_width
        return replace(
            self, mean=mean, low=None if half is None else mean - half, high=None if half is None else mean + half
        )


@dataclass(frozen=True)
class Difference:
    """One thing compared with another over the seeds that both have."""

    mean: float | None
    """None if no seed is shared."""
    interval: Interval | None
    """None with fewer than two shared seeds."""
    n: int
    """Shared seeds."""
    p_value: float | None
    """Of the two-sided paired t-test, over all looks where there were several; None without an interval."""
    verdict: Verdict
    reason: str = ""
    """Why the words say less than the interval seems to; empty otherwise."""


def t_interval(values: Sequence[float], level: float = _LEVEL, looks: Looks | None = None) -> Interval:
    """Return the mean of independent values with its t-interval.

    One value gives a mean without bounds; equal values give an interval of no width. With `looks`, the intervals of all
    looks cover the mean together at `level`; before the first look there are no bounds.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"an interval needs finite values, got {list(values)}")
    return _interval(fmean(values), _sd(values), len(values), level, looks)


def paired_difference(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    *,
    maximise: bool = True,
    step: float = 0.0,
    level: float = _LEVEL,
    looks: Looks | None = None,
) -> Difference:
    """Compare two things over the seeds that both have; the difference is `ours - theirs`.

    Args:
        ours: From seed to value.
        theirs: The same for what it is compared with.
        maximise: Whether more is better.
        step: What one image is worth, for values that count images (1 / number of images). With few images, few seeds
            often differ by exactly the same count, and a standard deviation of zero would make any such difference
            certain. If nothing but chance decides the images on which two networks disagree, a difference of k images
            has a standard deviation of at least sqrt(k) images (McNemar's test, with the fewest disagreements that
            allow it), so the standard deviation is not taken below sqrt(|mean| * step).
        level: Of the interval, and of the verdict: `better` or `worse` if the interval excludes zero.
        looks: After how many seeds the difference may have been looked at, if not once at the end.

    Seeds that only one of them has, and values that are not finite, are left out. With fewer than two seeds left, the
    verdict is `not distinguishable` and `reason` says why.
    """
    shared = [seed for seed in ours if seed in theirs and math.isfinite(ours[seed]) and math.isfinite(theirs[seed])]
    differences = [ours[seed] - theirs[seed] for seed in shared]
    n = len(differences)
    if n < (looks.first if looks else 2):
        reason = "one training each" if n == 1 else f"{n} seeds, too few to say" if n else "no seed in common"
        return Difference(fmean(differences) if n else None, None, n, None, "not distinguishable", reason)
    mean = fmean(differences)
    spread = max(_sd(differences), math.sqrt(abs(mean) * step))
    interval = _interval(mean, spread, n, level, looks)
    error = spread / math.sqrt(n)
    p_value = float(2 * stdtr(n - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    p_value = looks.p_value(n, p_value) if looks else p_value
    return Difference(mean, interval, n, p_value, _verdict(mean, p_value < 1 - level, maximise))


def correct_for_many(differences: Sequence[Difference], level: float = _LEVEL) -> list[Difference]:
    """Return the same differences with verdicts that hold together, by Holm's method.

    The chance that even one of the words `better` and `worse` is wrong stays below 1 - level. The intervals stay those
    of each difference alone; where such an interval excludes zero but the verdict does not follow, `reason` says so.
    Differences without a p-value are not counted and come back as they are.
    """
    tested = [i for i, difference in enumerate(differences) if difference.p_value is not None]
    corrected = list(differences)
    holds = True
    for rank, i in enumerate(sorted(tested, key=lambda i: differences[i].p_value or 0.0)):
        holds = holds and (differences[i].p_value or 0.0) < (1 - level) / (len(tested) - rank)
        if not holds and differences[i].verdict != "not distinguishable":
            reason = f"{differences[i].verdict} by itself, but not among {len(tested)} comparisons"
            corrected[i] = replace(differences[i], verdict="not distinguishable", reason=reason)
    return corrected


def binomial_error(share: float, num_images: int) -> float:
    """Return the standard error of a share of `num_images` independent images, as a fraction.

    Raises:
        ValueError: a share outside [0, 1], or no images.
    """
    if not 0 <= share <= 1 or num_images < 1:
        raise ValueError(f"needs a share in [0, 1] of at least one image, got {share} of {num_images}")
    return math.sqrt(share * (1 - share) / num_images)


def _sd(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _interval(mean: float, spread: float, n: int, level: float, looks: Looks | None) -> Interval:
    if n < (looks.first if looks else 2):
        return Interval(mean, None, None, n, level)
    outside = looks.nominal_level(n, 1 - level) if looks else 1 - level
    half = float(stdtrit(n - 1, 1 - outside / 2)) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level)


def _verdict(mean: float, certain: bool, maximise: bool) -> Verdict:
    if not certain:
        return "not distinguishable"
    return "better" if (mean > 0) == maximise else "worse"
