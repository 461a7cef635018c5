"""The part of a space on one host: its size, costs, neighbours, and what draws from it uniformly.

An architecture is one option index per decision of this host.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.attention import entry
from search_spaces.cost import Cost, host_cost, site_cost
from search_spaces.fitting import ModuleSpec, module_on_meta
from search_spaces.hosts import HostConfig
from search_spaces.sites.site_type import Site
from search_spaces.space.decisions import Decision, Option
from search_spaces.space.host_choices import host_label
from search_spaces.space.limits import LIMITED, Band, Bounds
from search_spaces.space.sampling import MAX_DRAWS, Costs, LimitedSampler

Indices = tuple[int, ...]
End = tuple[str, int, int]
"""An end of what something limited may be: its name, 1 for the upper and -1 for the lower end, and the end."""


@dataclass(frozen=True)
class HostSpace:
    """A set of architectures on one host."""

    host: HostConfig
    decisions: tuple[Decision, ...]
    bounds: Bounds

    @property
    def label(self) -> str:
        """What a reader calls the host."""
        return host_label(self.host)

    @property
    def size(self) -> int:
        """The number of distinct architectures, before limits."""
        return math.prod(len(decision.options) for decision in self.decisions)

    @property
    def cost_of_host(self) -> Cost:
        """The cost of the bare host."""
        return host_cost(self.host)

    def least(self, limited: str) -> int:
        """Return the least value of `params`, `macs` or `sites` that any architecture has.

        Where modules are shared it is a lower bound of it.
        """
        row = LIMITED.index(limited)
        shared = max((min(_params(groups) for groups in options) for options in self._groups), default=0)
        least = self._host_costs[row] + sum(int(costs[row].min()) for costs in self._costs)
        return int(least + shared) if limited == "params" else int(least)

    def out_of_reach(self) -> tuple[str, int, int] | None:
        """Return the first limit that no architecture satisfies: its name, itself, and the least; None if none is."""
        for name in LIMITED:
            limit = getattr(self.bounds, name)
            if limit is not None and (least := self.least(name)) > limit:
                return name, limit, least
        return None

    def at(self, number: int) -> Indices:
        """Return the architecture of a number below `size`; each has one."""
        shape = [len(decision.options) for decision in self.decisions]
        return tuple(int(index) for index in np.unravel_index(number, shape)) if shape else ()

    def decode(self, indices: Sequence[int]) -> Architecture:
        """Return the architecture of one option index per decision."""
        placed: dict[str, tuple[ModuleSpec, ...]] = {}
        for decision, index in zip(self.decisions, indices, strict=True):
            option = decision.options[index]
            placed |= {site.name: (spec,) for site in decision.members if (spec := option.at(site))}
        return Architecture.of(self.host, placed)

    def encode(self, architecture: Architecture) -> Indices | None:
        """Return the option indices that build the same at the same sites, or None if there are none."""
        placement = architecture.placement
        found = []
        for decision in self.decisions:
            placed = [placement.get(name, ()) for name in decision.sites]
            index = decision.index_of([specs[0] if specs else None for specs in placed])
            if index is None:
                return None
            found.append(index)
        # Answers for the host, for what stands at other sites, for second modules and for sharing.
        return tuple(found) if self.decode(found).hash == architecture.hash else None

    def neighbours(self, indices: Sequence[int]) -> list[Indices]:
        """Return the architectures that differ in exactly one decision, before limits."""
        indices = tuple(indices)
        return [
            (*indices[:i], other, *indices[i + 1 :])
            for i, decision in enumerate(self.decisions)
            for other in range(len(decision.options))
            if other != indices[i]
        ]

    @cached_property
    def sampler(self) -> LimitedSampler:
        """Draws option indices uniformly from those within the limits."""
        # The sums leave out the parameters of shared modules, which count once.
        return self._sampler(self._upper_ends, self._breaks if self._all_groups else None)

    def sample_in(
        self, band: Band, rng: np.random.Generator, *, without: Container[Indices] = (), max_draws: int = MAX_DRAWS
    ) -> Indices | None:
        """Draw option indices, uniform over those within the limits that cost what a band holds.

        None if `max_draws` proposals held none. `without` are not drawn.
        """
        # What shared modules have is in no sum: a sum may lie below the band by as much.
        least = band.least - Cost(_params(self._all_groups), 0)
        ends = [(name, 1, getattr(band.most, name)) for name in ("params", "macs")]
        ends += [(name, -1, getattr(least, name)) for name in ("params", "macs")]

        def refuse(indices: Indices) -> bool:
            return indices in without or self.cost(indices) not in band or self._breaks(indices)

        return self._sampler([*self._upper_ends, *ends], refuse).draw(rng, max_draws)

    @property
    def _upper_ends(self) -> list[End]:
        limits = [(name, 1, getattr(self.bounds, name)) for name in LIMITED]
        return [end for end in limits if end[2] is not None]

    def _sampler(self, ends: Sequence[End], refuse: Callable[[Indices], bool] | None) -> LimitedSampler:
        rows = np.array([LIMITED.index(name) for name, _, _ in ends], dtype=np.int64)
        signs = np.array([sign for _, sign, _ in ends], dtype=np.int64)
        room = [sign * (end - self._host_costs[row]) for (_, sign, end), row in zip(ends, rows, strict=True)]
        return LimitedSampler([signs[:, None] * costs[rows] for costs in self._costs], room, refuse)

    def _breaks(self, indices: Indices) -> bool:
        return self.violation(indices) is not None

    def cost(self, indices: Sequence[int]) -> Cost:
        """Return the cost of an architecture without building it."""
        params, macs, _ = self._totals(indices)
        return Cost(params, macs)

    def violation(self, indices: Sequence[int]) -> str | None:
        """Return in words the limit that an architecture breaks, or None."""
        limits = [getattr(self.bounds, name) for name in LIMITED]
        if all(limit is None for limit in limits):
            return None
        for name, limit, total in zip(LIMITED, limits, self._totals(indices), strict=True):
            if limit is not None and total > limit:
                return f"limit: {name} {total:,} above {limit:,}"
        return None

    def _totals(self, indices: Sequence[int]) -> tuple[int, ...]:
        columns = (costs[:, index] for costs, index in zip(self._costs, indices, strict=True))
        totals = [int(total) for total in sum(columns, np.array(self._host_costs))]
        groups: dict[str, int] = {}
        for options, index in zip(self._groups, indices, strict=True):
            groups |= options[index]
        totals[LIMITED.index("params")] += _params(groups)
        return tuple(totals)

    @cached_property
    def _host_costs(self) -> tuple[int, int, int]:
        cost = self.cost_of_host
        return cost.params, cost.macs, 0

    @cached_property
    def _costs(self) -> list[Costs]:
        """Per decision what each option (column) adds to what can be limited (row).

        The parameters of shared modules are left out: they count once (see `_groups`).
        """
        return [
            np.array([self._option_costs(decision, option) for option in decision.options], dtype=np.int64).T
            for decision in self.decisions
        ]

    def _option_costs(self, decision: Decision, option: Option) -> tuple[int, int, int]:
        if option.spec is None:
            return 0, 0, 0
        costs = [site_cost(self.host, site, option.spec) for site in decision.members]
        params = sum(cost.params for cost in costs)
        if option.shared_by:
            # What is left is what each site loses: the host's own module there, whose place is taken.
            params -= sum(self._num_params(site, option.spec) for site in decision.members)
        places_nothing = entry(option.spec.module).kind == "removal"
        return params, sum(cost.macs for cost in costs), 0 if places_nothing else len(costs)

    @cached_property
    def _groups(self) -> list[list[dict[str, int]]]:
        """Per decision and option the parameters of each shared module, by its group."""
        return [[self._group_params(decision, option) for option in decision.options] for decision in self.decisions]

    @cached_property
    def _all_groups(self) -> dict[str, int]:
        """The parameters of every module that could be shared, by its group."""
        return {name: params for options in self._groups for groups in options for name, params in groups.items()}

    def _group_params(self, decision: Decision, option: Option) -> dict[str, int]:
        specs = [(site, option.at(site)) for site in decision.members] if option.shared_by else []
        return {spec.share: self._num_params(site, spec) for site, spec in specs if spec and spec.share}

    def _num_params(self, site: Site, spec: ModuleSpec) -> int:
        return sum(parameter.numel() for parameter in module_on_meta(self.host, site, spec).parameters())


def _params(groups: Mapping[str, int]) -> int:
    return sum(groups.values())
