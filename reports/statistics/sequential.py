"""Student's t looked at again after each further seed: levels that keep the promised error over all looks together.

A test that is repeated while the data grow finds something by chance sooner or later. Here the looks are planned: after
`first` seeds, and after each further one up to `last`. The error that may have been spent by the look at n seeds is
`alpha * (n / last) ** 2` (Lan and DeMets, 1983, "Discrete sequential boundaries for clinical trials"; the power family
of Kim and DeMets, 1987): little early, where two degrees of freedom prove nothing anyway. Wherever a race stops, and
for whatever reason, the error made so far is within what was spent, so no rule for stopping can spoil it.

With an unknown variance the boundary is exact too (Jennison and Turnbull, 1991, "Exact calculations for sequential t,
chi-square and F tests"): under the null hypothesis the normalised sum u = S / (sqrt(n) R), with S the sum of n normal
differences and R the root of their sum of squares, is a Markov chain, since R is independent of all directions so far.
With x the next difference over R, sqrt(n) x is Student's t with n degrees of freedom, and

    u' = (sqrt(n) u + x) / (sqrt(n + 1) sqrt(1 + x^2)).

Departure: the state is cut into cells, each with the mass of the exact distribution but moved to the cell's middle.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

Floats = npt.NDArray[np.float64]

_SPENDING_POWER = 2.0
_CELLS = 256
_ALPHAS = np.geomspace(1e-6, 1.0, 25)
"""Overall levels for which the boundaries are computed; between them they are interpolated."""


@dataclass(frozen=True)
class Looks:
    """A plan of looks: after `first` values, and after each further one up to `last`."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.last:
            raise ValueError(f"looks need 2 <= first <= last, got first {self.first} and last {self.last}")

    @lru_cache(maxsize=4096)  # noqa: B019 - two numbers each; a race asks for the same few again and again
    def nominal_level(self, n: int, alpha: float) -> float:
        """Return the level at which a single two-sided t-test of `n` values may be done, for `alpha` over all looks.

        Raises:
            ValueError: `n` is no look.
        """
        levels = self._levels(n)
        return float(np.exp(np.interp(np.log(max(alpha, _ALPHAS[0])), np.log(_ALPHAS), np.log(levels))))

    def p_value(self, n: int, nominal: float) -> float:
        """Return the p-value over all looks of a t-test of `n` values that has the p-value `nominal` by itself.

        It is the smallest `alpha` at which this look would reject (Liu and Anderson, 2008, "On adaptive extensions of
        group sequential trials for clinical investigations"); never below 1e-6. Raises ValueError as above.
        """
        levels = self._levels(n)
        return float(np.exp(np.interp(np.log(max(nominal, levels[0])), np.log(levels), np.log(_ALPHAS), right=0.0)))

    def _levels(self, n: int) -> Floats:
        if not self.first <= n <= self.last:
            raise ValueError(f"{n} values are no look of {self.first} to {self.last}")
        return _nominal_levels(self.first, self.last)[n]


@lru_cache(maxsize=32)
def _nominal_levels(first: int, last: int) -> Mapping[int, Floats]:
    """Return for each look the nominal levels that belong to `_ALPHAS`."""
    walk = _Walk(first, last)
    boundaries = [walk.nominal(float(alpha)) for alpha in _ALPHAS]
    return {n: np.array([levels[n] for levels in boundaries]) for n in range(first, last + 1)}


class _Walk:
    """The distribution of u = sin(angle) from look to look under the null hypothesis, on cells of equal angle."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._edges = np.linspace(-math.pi / 2, math.pi / 2, _CELLS + 1)
        self._middles = np.sin((self._edges[1:] + self._edges[:-1]) / 2)
        self._start = np.diff(stdtr(first - 1, math.sqrt(first - 1) * np.tan(self._edges)))
        self._below = {n: _below(n, self._middles, np.sin(self._edges)) for n in range(first, last)}

    def nominal(self, alpha: float) -> dict[int, float]:
        """Return each look's nominal level if `alpha` is spent over all looks."""
        levels = {self._first: alpha * (self._first / self._last) ** _SPENDING_POWER}
        angle = math.atan(-_quantile(self._first - 1, levels[self._first]) / math.sqrt(self._first - 1))
        mass = _clipped(self._start, self._edges, angle)
        for n in range(self._first, self._last):
            spent = alpha * ((n + 1) ** _SPENDING_POWER - n**_SPENDING_POWER) / self._last**_SPENDING_POWER
            angle = self._boundary(n, mass, spent)
            levels[n + 1] = float(2 * stdtr(n, -math.sqrt(n) * math.tan(angle)))
            mass = self._step(n, mass, angle)
        return levels

    def _boundary(self, n: int, mass: Floats, spent: float) -> float:
        """Return the angle that the walk leaves at n + 1 with probability `spent`."""

        def too_many(angle: float) -> float:
            return self._leaving(n, mass, angle) - spent

        return 0.0 if too_many(0.0) <= 0 else float(brentq(too_many, 0.0, math.pi / 2, xtol=1e-14, rtol=1e-13))

    def _leaving(self, n: int, mass: Floats, angle: float) -> float:
        within = _below(n, self._middles, np.sin(np.array([-angle, angle])))
        return float(mass @ (1.0 - (within[:, 1] - within[:, 0])))

    def _step(self, n: int, mass: Floats, angle: float) -> Floats:
        """Return the mass in each cell at n + 1 of what stays within the angle."""
        below = mass @ self._below[n]
        low, high = mass @ _below(n, self._middles, np.sin(np.array([-angle, angle])))
        return np.diff(np.clip(below, low, high))


def _below(n: int, u: Floats, bounds: Floats) -> Floats:
    """Return the probability of u' <= bound after n values, (u, bounds).

    With x = tan(phi), u' sqrt(n + 1) = sqrt(n) u cos(phi) + sin(phi) = r sin(phi + psi).
    """
    r, psi = np.sqrt(1 + n * u**2)[:, None], np.arctan(math.sqrt(n) * u)[:, None]
    ratio = bounds[None, :] * math.sqrt(n + 1) / r
    turn = np.arcsin(np.clip(ratio, -1, 1))
    found = _share(n, turn - psi) - _share(n, -math.pi - turn - psi) + 1 - _share(n, math.pi - turn - psi)
    return np.where(ratio >= 1, 1.0, np.where(ratio <= -1, 0.0, found))


def _share(n: int, phi: Floats) -> Floats:
    """Return the probability of an angle below phi; sqrt(n) tan(phi) is Student's t with n degrees of freedom."""
    inside = np.clip(phi, -math.pi / 2, math.pi / 2)
    shares: Floats = stdtr(n, math.sqrt(n) * np.tan(inside))
    return np.where(phi <= -math.pi / 2, 0.0, np.where(phi >= math.pi / 2, 1.0, shares))


def _clipped(mass: Floats, edges: Floats, angle: float) -> Floats:
    """Return the mass within the angle; a cell that the angle cuts keeps its share of the width."""
    inside = np.minimum(edges[1:], angle) - np.maximum(edges[:-1], -angle)
    return mass * np.clip(inside / np.diff(edges), 0.0, 1.0)


def _quantile(df: int, level: float) -> float:
    """Return the (negative) t that is undercut with probability level / 2."""
    return float(stdtrit(df, level / 2))
