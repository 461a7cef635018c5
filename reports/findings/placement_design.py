"""Placements as numbers: which module stands where, and what these decisions have in common.

A decision is a module at a site, or at several sites where no architecture of the study has it at one and not at the
others: what never varies apart cannot be told apart. Each decision counts in six features: its module, its place (a
kind of place within a stage), its site, its module with its place, itself, and its module with its depth. So a prior
that treats all features alike expects what was learnt of a module, or of a place, to hold elsewhere, and lets each
decision deviate.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.objectives import Floats
from search_spaces import Architecture, HostConfig, find_sites
from search_spaces.space.ordering import merge_orders

_OWN = 1.5
"""What a decision counts in the feature that is its own alone; with 1 the intervals of what has nothing in common with
the rest cover 91 % in place of 92 (`benchmarks/report_statistics.py`, 60 trials)."""


@dataclass(frozen=True)
class Decision:
    """A module at a site, or at sites that always have it together."""

    module: str
    sites: tuple[str, ...]
    area: str
    """Stage and kind of place, `layer1/branch`; of several sites the first's."""
    depth: float
    """Of its block among the host's blocks, from 0 for the first to 1 for the last; of several sites the mean."""

    @property
    def where(self) -> str:
        """The sites for a reader: `layer1.0/branch`, `layer1.0/branch and 2 more`."""
        more = len(self.sites) - 1
        return f"{self.sites[0]} and {more} more" if more else self.sites[0]


@dataclass(frozen=True)
class Design:
    """Architectures in terms of their decisions."""

    decisions: tuple[Decision, ...]
    """In the order of the network, then of the modules' names."""
    taken: Floats
    """(architectures, decisions), 1 where the architecture has it."""
    features: Floats
    """(decisions, features), what each decision counts."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules by name."""
        return tuple(sorted({decision.module for decision in self.decisions}))

    @property
    def areas(self) -> tuple[str, ...]:
        """The places, in the order of the network."""
        return tuple(dict.fromkeys(decision.area for decision in self.decisions))


def design_of(architectures: Sequence[Architecture]) -> Design:
    """Return the design of some architectures; without any module it has no decisions."""
    placed = [_placed(architecture) for architecture in architectures]
    spots = _spots(dict.fromkeys(architecture.host for architecture in architectures))
    used = {cell for cells in placed for cell in cells}
    cells = [(site, module) for site in spots for module in sorted({m for s, m in used if s == site})]
    numbers = {cell: i for i, cell in enumerate(cells)}
    taken = np.zeros((len(placed), len(cells)))
    for row, own in zip(taken, placed, strict=True):
        row[[numbers[cell] for cell in own]] = 1.0
    groups: dict[tuple[str, bytes], list[int]] = {}
    for i, (_, module) in enumerate(cells):
        groups.setdefault((module, taken[:, i].tobytes()), []).append(i)
    decisions = [_decision([cells[i] for i in members], spots) for members in groups.values()]
    columns = [members[0] for members in groups.values()]
    return Design(tuple(decisions), taken[:, columns], _features(decisions))


@dataclass(frozen=True)
class _Spot:
    area: str
    depth: float


def _placed(architecture: Architecture) -> set[tuple[str, str]]:
    return {(site, spec.module) for site, specs in architecture.items for spec in specs}


def _spots(hosts: dict[HostConfig, None]) -> dict[str, _Spot]:
    """Return where each site lies, in the order of the networks; of several hosts the first that has it counts."""
    found: dict[str, _Spot] = {}
    for host in hosts:
        sites = find_sites(host)
        blocks = list(dict.fromkeys(site.block for site in sites))
        last = max(len(blocks) - 1, 1)
        for site in sites:
            area = f"{site.stage}/{site.place_kind}" if site.stage else site.place_kind
            found.setdefault(site.name, _Spot(area, blocks.index(site.block) / last))
    order = merge_orders([[site.name for site in find_sites(host)] for host in hosts])
    return {site: found[site] for site in order}


def _decision(cells: Sequence[tuple[str, str]], spots: dict[str, _Spot]) -> Decision:
    sites = tuple(site for site, _ in cells)
    depth = float(np.mean([spots[site].depth for site in sites]))
    return Decision(cells[0][1], sites, spots[sites[0]].area, depth)


def _features(decisions: Sequence[Decision]) -> Floats:
    numbers: dict[Hashable, int] = {}
    rows = [[numbers.setdefault(key, len(numbers)) for key in _keys(decision)] for decision in decisions]
    features = np.zeros((len(decisions), len(numbers)))
    for row, columns, decision in zip(features, rows, decisions, strict=True):
        row[columns] = 1.0
        row[columns[-2:]] = _OWN, decision.depth - 0.5
    return features


def _keys(decision: Decision) -> list[Hashable]:
    return [
        ("module", decision.module),
        ("place", decision.area),
        ("site", decision.sites),
        ("module and place", decision.module, decision.area),
        ("module and site", decision.module, decision.sites),
        ("module and depth", decision.module),
    ]
