"""A space: a host, choices over its sites, and limits; its size, uniform samples and neighbours.

A choice becomes one *decision* per site, block, stage or host; a decision's *options* are the distinct things it can
build. An architecture of the space is one option index per decision.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.cost import Cost, host_cost, site_cost
from search_spaces.decisions import NONE, Decision, make_decisions
from search_spaces.errors import InputError
from search_spaces.fitting import ModuleSpec
from search_spaces.hosts import HostConfig
from search_spaces.limits import LIMITED, Bounds
from search_spaces.sites import find_sites
from search_spaces.space_config import SpaceConfig
from search_spaces.yaml_files import Document, read_yaml, validate

Indices = tuple[int, ...]

_BATCH = 4096
_MAX_DRAWS = 2_000_000


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
        return space

    @property
    def size(self) -> int:
        """The number of distinct architectures, before limits."""
        return math.prod(len(decision.options) for decision in self.decisions)

    def least(self, limited: str) -> int:
        """Return the least value of `params`, `macs` or `sites` that any architecture of the space has."""
        table = self._costs[LIMITED.index(limited)]
        return int(self._host_costs[LIMITED.index(limited)] + sum(int(row.min()) for row in table))

    def decode(self, indices: Sequence[int]) -> Architecture:
        """Return the architecture of one option index per decision."""
        placed: dict[str, tuple[ModuleSpec, ...]] = {}
        for decision, index in zip(self.decisions, indices, strict=True):
            if spec := decision.options[index].spec:
                placed |= {name: (spec,) for name in decision.sites}
        return Architecture.of(self.host, placed)

    def encode(self, architecture: Architecture) -> Indices | None:
        """Return the option indices that build the same network, or None if it is not in the space."""
        placement = architecture.placement
        found = []
        for decision in self.decisions:
            specs = {placement.get(name, ()) for name in decision.sites}
            if len(specs) != 1 or len(only := specs.pop()) > 1:
                return None
            index = decision.index_of(only[0]) if only else decision.index_of(None)
            if index is None:
                return None
            found.append(index)
        same = self.decode(found).hash == architecture.hash
        return tuple(found) if same else None

    def option_index(self, decision: int, module: str, knobs: dict[str, object]) -> int:
        """Return the option that a legal choice of module and knobs builds; knobs left out are the only ones there are."""
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
            InputError: two million draws found nothing within the limits.
        """
        if not self.bounds.any:
            return tuple(int(rng.integers(len(decision.options))) for decision in self.decisions)
        for _ in range(_MAX_DRAWS // _BATCH):
            draws = [rng.integers(len(decision.options), size=_BATCH) for decision in self.decisions]
            within = np.ones(_BATCH, dtype=bool)
            for name, base, table in zip(LIMITED, self._host_costs, self._costs, strict=True):
                if (limit := getattr(self.bounds, name)) is not None:
                    total = sum(
                        (row[draw] for row, draw in zip(table, draws, strict=True)), np.full(_BATCH, base)
                    )
                    within &= total <= limit
            if within.any():
                first = int(np.argmax(within))
                return tuple(int(draw[first]) for draw in draws)
        raise InputError(f"{_MAX_DRAWS:,} random architectures, and none within the limits ({self.bounds})")

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

    def _totals(self, indices: Sequence[int]) -> list[int]:
        return [
            base + sum(int(row[index]) for row, index in zip(table, indices, strict=True))
            for base, table in zip(self._host_costs, self._costs, strict=True)
        ]

    @cached_property
    def _host_costs(self) -> tuple[int, int, int]:
        cost = host_cost(self.host)
        return cost.params, cost.macs, 0

    @cached_property
    def _costs(self) -> list[list[np.ndarray]]:
        """Per limited quantity and decision: what each option adds to the host."""
        sites = {site.name: site for site in find_sites(self.host)}
        tables: list[list[np.ndarray]] = [[], [], []]
        for decision in self.decisions:
            rows = []
            for option in decision.options:
                costs = [
                    site_cost(self.host, sites[name], option.spec) for name in decision.sites if option.spec
                ]
                rows.append((sum(c.params for c in costs), sum(c.macs for c in costs), len(costs)))
            for table, column in zip(tables, zip(*rows, strict=True), strict=True):
                table.append(np.array(column, dtype=np.int64))
        return tables


__all__ = ["NONE", "SearchSpace"]
