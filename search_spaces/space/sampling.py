"""Uniform draws of option indices under upper limits on sums, by rejection from a tilted proposal.

A lower limit is an upper one on the negated sum.

Wanted is the uniform distribution over all x with c_j(x) <= L_j for every limit j, where c_j is a sum over decisions.
The proposal q(x) ~ exp(-sum_j t_j c_j(x)) is independent in each decision, and accepting x with probability
exp(sum_j t_j (c_j(x) - L_j)) leaves what is accepted uniform, whatever t >= 0 is. At t = 0 this is plain rejection,
which finds nothing under tight limits: of uniform placements of 14 options on 11 decisions, one in 3 x 10^8 occupies
two sites or fewer. The t taken here accepts the most: it minimises log sum_x exp(-t c(x)) + t L, which is convex.
Nothing of this asks for costs or limits above zero.

With exp(that minimum) = M, one proposal in M / N is accepted where N are within the limits. So a union of spaces, the
one to propose from drawn anew for each proposal in proportion to its M, is sampled uniformly too.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Costs = NDArray[np.int64]
"""Of one decision: what each option (column) adds to each limited sum (row)."""

MAX_DRAWS = 1_000_000
_BATCH = 512


class LimitedSampler:
    """Draws one option index per decision, uniform over all within the limits.

    Args:
        costs: per decision what each option adds to each limited sum, (limits, options).
        most: per limited sum the most that it may be.
        refuse: says of indices within these limits whether they are to be rejected for a reason that no sum tells.
    """

    def __init__(
        self,
        costs: Sequence[Costs],
        most: Sequence[int],
        refuse: Callable[[tuple[int, ...]], bool] | None = None,
    ) -> None:
        self._costs = costs
        self._most = np.array(most, dtype=np.int64)
        self._refuse = refuse

    def draw(self, rng: np.random.Generator, max_draws: int = MAX_DRAWS) -> tuple[int, ...] | None:
        """Return indices, or None if `max_draws` proposals, in whole batches, held nothing within the limits."""
        if not self._most.size:
            return tuple(int(rng.integers(costs.shape[1])) for costs in self._costs)
        for _ in range(0, max_draws, _BATCH):
            if found := self.first_of(rng, _BATCH):
                return found[1]
        return None

    def first_of(self, rng: np.random.Generator, num_proposals: int) -> tuple[int, tuple[int, ...]] | None:
        """Return which of so many proposals is the first that is accepted, and its indices; None if none is."""
        proposals = [np.searchsorted(cdf, rng.random(num_proposals), side="right") for cdf in self._cumulative]
        totals = np.zeros((len(self._most), num_proposals), dtype=np.int64)
        for costs, drawn in zip(self._costs, proposals, strict=True):
            totals += costs[:, drawn]
        excess = totals - self._most[:, None]
        accepted = (excess <= 0).all(axis=0) & (np.log(rng.random(num_proposals)) <= self._tilts @ excess)
        for number in np.flatnonzero(accepted):
            indices = tuple(int(drawn[number]) for drawn in proposals)
            if self._refuse is None or not self._refuse(indices):
                return int(number), indices
        return None

    @cached_property
    def log_num_proposals(self) -> float:
        """The logarithm of M (see the module): how many proposals are made for each that is within the limits."""
        return self._log_num_proposals(self._tilts)

    @cached_property
    def _cumulative(self) -> list[NDArray[np.float64]]:
        """Per decision the proposal's cumulative probabilities; the last, which is 1, is left out."""
        logits = [-self._tilts @ costs for costs in self._costs]
        weights = [np.exp(row - row.max()) for row in logits]
        return [np.cumsum(row / row.sum())[:-1] for row in weights]

    @cached_property
    def _tilts(self) -> NDArray[np.float64]:
        if not self._most.size or not self._costs:
            return np.zeros(len(self._most))
        # In these units a good tilt is some tens at most.
        units = np.array([_unit(most, row) for most, row in zip(self._most, np.hstack(self._costs), strict=True)])
        found = minimize(
            lambda scaled: self._log_num_proposals(scaled / units),
            np.zeros(len(units)),
            bounds=[(0.0, 1e3)] * len(units),
        )
        return np.asarray(found.x / units)

    def _log_num_proposals(self, tilts: NDArray[np.float64]) -> float:
        normalisers = (np.logaddexp.reduce(-tilts @ costs) for costs in self._costs)
        return float(tilts @ self._most + sum(normalisers))


class UnionSampler:
    """Draws from several disjoint spaces, uniform over all that is within the limits of its own space."""

    def __init__(self, samplers: Sequence[LimitedSampler]) -> None:
        self._samplers = samplers

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]] | None:
        """Return the number of a space and indices in it, or None if MAX_DRAWS proposals held nothing."""
        for _ in range(0, MAX_DRAWS, _BATCH):
            spaces = np.searchsorted(self._cumulative, rng.random(_BATCH), side="right")
            # The first accepted of all proposals, in the order in which their spaces were drawn.
            found = []
            for number in np.unique(spaces):
                places = np.flatnonzero(spaces == number)
                if first := self._samplers[number].first_of(rng, len(places)):
                    found.append((int(places[first[0]]), int(number), first[1]))
            if found:
                _, space, indices = min(found)
                return space, indices
        return None

    @cached_property
    def _cumulative(self) -> NDArray[np.float64]:
        """The cumulative probabilities of proposing from each space; the last, which is 1, is left out."""
        logs = np.array([sampler.log_num_proposals for sampler in self._samplers])
        weights = np.exp(logs - logs.max())
        return np.cumsum(weights / weights.sum())[:-1]


def _unit(most: int, costs: Costs) -> float:
    """Return the limit, or for a limit of (nearly) nothing the least cost; the usual cost where some save."""
    if (costs < 0).any():
        return float(max(abs(most), np.median(np.abs(costs[costs != 0])), 1))
    return float(max(most, min((cost for cost in costs if cost > 0), default=1), 1))
