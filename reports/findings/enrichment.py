"""What the front has more of, or less, than everything else that was trained.

For each module at each site: the share of the front that has it there, less the share of all finished trials that are
not on the front. Intervals are Bayesian, with Jeffreys' prior Beta(1/2, 1/2) on either share: of fronts with a
handful of members normal approximations are wrong, and this holds its level in either tail (Brown, Cai and DasGupta,
2001, "Interval estimation for a binomial proportion"; Brown and Li, 2005, "Confidence intervals for two sample
binomial distribution"). Members of a front are taken as independent of each other, which children of the same parents
are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reports.findings.placement_design import design_of
from search_spaces import Architecture, find_sites

_DRAWS = 20_000
_LEVEL = 0.95


@dataclass(frozen=True)
class Enrichment:
    """One module at one site, or at sites where it always stands together."""

    module: str
    where: str
    in_front: int
    num_front: int
    """Of those on the front that have such a site."""
    elsewhere: int
    num_elsewhere: int

    @property
    def share_in_front(self) -> float:
        return self.in_front / self.num_front if self.num_front else 0.0

    @property
    def share_elsewhere(self) -> float:
        return self.elsewhere / self.num_elsewhere if self.num_elsewhere else 0.0

    @property
    def share_in_all(self) -> float:
        """Among all finished trials, the front included."""
        return (self.in_front + self.elsewhere) / max(self.num_front + self.num_elsewhere, 1)

    @property
    def difference(self) -> float:
        """Of the share in the front over that elsewhere."""
        return self.share_in_front - self.share_elsewhere

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference."""
        return jeffreys_interval(self.in_front, self.num_front, self.elsewhere, self.num_elsewhere)

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes zero."""
        low, high = self.interval
        return low > 0 or high < 0


def enrichments_of(front: Sequence[Architecture], others: Sequence[Architecture]) -> tuple[Enrichment, ...]:
    """Return every module at every site where any of the architectures has it, in the order of the network."""
    if not front or not others:
        return ()
    everything = [*front, *others]
    design = design_of(everything)
    names = {host: {site.name for site in find_sites(host)} for host in {each.host for each in everything}}
    found = []
    for column, decision in zip(design.taken.T, design.decisions, strict=True):
        there = np.array([decision.sites[0] in names[each.host] for each in everything])
        taken, on_front = column > 0, np.arange(len(everything)) < len(front)
        found.append(
            Enrichment(
                decision.module,
                decision.where,
                int((taken & on_front).sum()),
                int((there & on_front).sum()),
                int((taken & ~on_front).sum()),
                int((there & ~on_front).sum()),
            )
        )
    return tuple(found)


@lru_cache(maxsize=4096)
def jeffreys_interval(in_first: int, first: int, in_second: int, second: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares; of an empty set the share may be anything."""
    rng = np.random.default_rng(0)
    ours = rng.beta(in_first + 0.5, first - in_first + 0.5, _DRAWS)
    theirs = rng.beta(in_second + 0.5, second - in_second + 0.5, _DRAWS)
    low, high = np.quantile(ours - theirs, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
