"""A space: a host, choices over its sites, and limits; its size, uniform samples and neighbours.

A choice becomes one *decision* per site, block, stage or host; a decision's *options* are the distinct things it
can build. An architecture of the space is one option index per decision.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.cost import Cost, host_cost, site_cost
from search_spaces.decisions import Decision, Option, make_decisions
from search_spaces.errors import InputError
from search_spaces.fitting import ModuleSpec
from search_spaces.hosts import HostConfig
from search_spaces.limits import LIMITED, Bounds
from search_spaces.sampling import MAX_DRAWS, Costs, LimitedSampler
from search_spaces.space_config import SpaceConfig
from search_spaces.yaml_files import Document, read_yaml, validate

Indices = tuple[int, ...]


@dataclass(frozen=True)
class SearchSpace:
    """A set of architectures. Make one with `load`, `from_document` or `from_dict`."""

    host: HostConfig
    decisions: tuple[Decision, ...]
    bounds: Bounds

    @staticmethod
    def load(path: str | Path) -> "SearchSpace":
        """Read a space from a YAML file. Raises InputError naming file, line and key."""
        return SearchSpace.from_document(read_yaml(Path(path)))

    @staticmethod
    def from_dict(data: dict[str, object]) -> "SearchSpace":
        """Return the space of `{"host": ..., "choices": ..., "limits": ...}`. Raises InputError."""
        return SearchSpace.from_document(Document(data, "space"))

    @staticmethod
    def from_document(document: Document) -> "SearchSpace":
        """Return the space that a parsed file describes.

        Raises:
            InputError: a mistake in the file, a module that does not fit a site it may go to, selectors that
                overlap, a knob's value without effect, a limit that nothing satisfies.
        """
        config = validate(SpaceConfig, document)
        decisions = make_decisions(config, document)
        bounds = Bounds.of(config.limits, host_cost(config.host))
        space = SearchSpace(config.host, decisions, bounds)
        for name in LIMITED:
            least, limit = space.least(name), getattr(bounds, name)
            if limit is not None and least > limit:
                raise document.error(
                    ("limits", name),
                    f"nothing satisfies the limit {limit:,}: the least possible is {least:,}",
                )
        try:
            space.sample_indices(np.random.default_rng(0))
        except InputError as error:
            raise document.error(("limits",), str(error)) from None
        return space

    @property
    def size(self) -> int:
        """The number of distinct architectures, before limits."""
        return math.prod(len(decision.options) for decision in self.decisions)

    def least(self, limited: str) -> int:
        """Return the least value of `params`, `macs` or `sites` that any architecture of the space has.

        Where modules are shared it is a lower bound of it.
        """
        row = LIMITED.index(limited)
        shared = max((min(_params(groups) for groups in options) for options in self._groups), default=0)
        least = self._host_costs[row] + sum(int(costs[row].min()) for costs in self._costs)
        return int(least + shared) if limited == "params" else int(least)

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
        # Answers for what stands at other sites, for second modules and for sharing.
        return tuple(found) if self.decode(found).hash == architecture.hash else None

    def option_index(self, decision: int, module: str, knobs: dict[str, object]) -> int:
        """Return the option that a module with these values of its varied knobs builds."""
        return self.decisions[decision].option_index(module, knobs)

    def neighbours(self, indices: Sequence[int]) -> list[Indices]:
        """Return the architectures that differ in exactly one decision, before limits."""
        indices = tuple(indices)
        return [
            (*indices[:i], other, *indices[i + 1 :])
            for i, decision in enumerate(self.decisions)
            for other in range(len(decision.options))
            if other != indices[i]
        ]

    def sample_indices(self, rng: np.random.Generator) -> Indices:
        """Draw an architecture's option indices, uniform over the distinct architectures within the limits.

        Raises:
            InputError: a million draws found nothing within the limits.
        """
        drawn = self._sampler.draw(rng)
        if drawn is None:
            raise InputError(f"{MAX_DRAWS:,} random architectures, and none within the limits ({self.bounds})")
        return drawn

    @cached_property
    def _sampler(self) -> LimitedSampler:
        limits = [getattr(self.bounds, name) for name in LIMITED]
        limited = [i for i, limit in enumerate(limits) if limit is not None]
        room = [limits[i] - self._host_costs[i] for i in limited]
        # The sums leave out the parameters of shared modules, which count once.
        shares = any(groups for options in self._groups for groups in options)
        return LimitedSampler([costs[limited] for costs in self._costs], room, self._breaks if shares else None)

    def _breaks(self, indices: Indices) -> bool:
        return self.violation(indices) is not None

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly from those within the limits (see `sample_indices`)."""
        return self.decode(self.sample_indices(rng))

    def cost(self, indices: Sequence[int]) -> Cost:
        """Return the cost of an architecture of the space without building it."""
        params, macs, _ = self._totals(indices)
        return Cost(params, macs)

    def violation(self, indices: Sequence[int]) -> str | None:
        """Return in words the limit that an architecture breaks, or None."""
        for name, total in zip(LIMITED, self._totals(indices), strict=True):
            limit = getattr(self.bounds, name)
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
        cost = host_cost(self.host)
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
        params = 0 if option.shared_by else sum(cost.params for cost in costs)
        return params, sum(cost.macs for cost in costs), len(costs)

    @cached_property
    def _groups(self) -> list[list[dict[str, int]]]:
        """Per decision and option the parameters of each shared module, by its group."""
        return [[self._group_params(decision, option) for option in decision.options] for decision in self.decisions]

    def _group_params(self, decision: Decision, option: Option) -> dict[str, int]:
        specs = [(site, option.at(site)) for site in decision.members] if option.shared_by else []
        return {spec.share: site_cost(self.host, site, spec).params for site, spec in specs if spec and spec.share}


def _params(groups: Mapping[str, int]) -> int:
    return sum(groups.values())
