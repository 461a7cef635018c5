"""A space: a host or several to choose from, choices over their sites, and limits.

A choice becomes one *decision* per site, block, stage or host; a decision's *options* are the distinct things it
can build. An architecture of the space is one option index per decision. Where there are several hosts, the first
decision is the host. A decision whose sites the chosen host does not have does not exist there: its index is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.cost import Cost, host_cost
from search_spaces.errors import InputError
from search_spaces.fitting import NONE
from search_spaces.hosts import HostConfig
from search_spaces.space.decisions import Decision, make_decisions
from search_spaces.space.host_space import HostSpace, Indices
from search_spaces.space.limits import LIMITED, Bounds, LimitsConfig
from search_spaces.space.merging import MergedDecision, merge
from search_spaces.space.sampling import MAX_DRAWS, UnionSampler
from search_spaces.space.space_config import SpaceConfig
from search_spaces.yaml_files import Document, read_yaml, validate


@dataclass(frozen=True)
class SearchSpace:
    """A set of architectures. Make one with `load`, `from_document` or `from_dict`."""

    variants: tuple[HostSpace, ...]
    """Its part on each host."""
    left_out: tuple[str, ...] = ()
    """The listed hosts on which nothing is within the limits, each with the reason; they are no part of the space."""

    @staticmethod
    def load(path: str | Path) -> "SearchSpace":
        """Read a space from a YAML file. Raises InputError naming file, line and key."""
        return SearchSpace.from_document(read_yaml(Path(path)))

    @staticmethod
    def from_dict(data: dict[str, object], *, tried: bool = False) -> "SearchSpace":
        """Return the space of `{"host": ..., "choices": ..., "limits": ...}` as `from_document` does."""
        return SearchSpace.from_document(Document(data, "space"), tried=tried)

    @staticmethod
    def from_document(document: Document, *, tried: bool = False) -> "SearchSpace":
        """Return the space that a parsed file describes.

        Args:
            document: the file's content.
            tried: something was drawn from it before, as from a study's space: that its limits leave anything is not
                looked for again, which takes a second and more.

        Raises:
            InputError: a mistake in the file, a module that does not fit a site it may go to, selectors that
                overlap, a knob's value without effect, a limit that nothing satisfies.
        """
        config = validate(SpaceConfig, document)
        decisions = make_decisions(config, document)
        space = _within_limits(config.hosts, decisions, config.limits, document)
        if not tried:
            try:
                space.sample_indices(np.random.default_rng(0))
            except InputError as error:
                raise document.error(("limits",), str(error)) from None
        return space

    @property
    def host(self) -> HostConfig:
        """The host of a space over one; where there are several, ask its `variants` or the architecture."""
        assert len(self.variants) == 1, "the space has several hosts"
        return self.variants[0].host

    @property
    def hosts(self) -> tuple[HostConfig, ...]:
        """The hosts to choose from."""
        return tuple(variant.host for variant in self.variants)

    @cached_property
    def decisions(self) -> tuple[Decision | MergedDecision, ...]:
        """What there is to decide; with several hosts, first the host, then what there is to decide on any of them."""
        return self._merged or self.variants[0].decisions

    @cached_property
    def _merged(self) -> tuple[MergedDecision, ...]:
        """The decisions of a space over several hosts; nothing for one."""
        if len(self.variants) == 1:
            return ()
        return merge([(variant.label, variant.host, variant.decisions) for variant in self.variants])

    @property
    def size(self) -> int:
        """The number of distinct architectures, before limits."""
        return sum(variant.size for variant in self.variants)

    def least(self, limited: str) -> int:
        """Return the least value of `params`, `macs` or `sites` that any architecture of the space has.

        Where modules are shared it is a lower bound of it.
        """
        return min(variant.least(limited) for variant in self.variants)

    def exists(self, decision: int, indices: Sequence[int]) -> bool:
        """Return whether the host that the first of `indices` chooses has sites for a decision, given by its number."""
        if not self._merged or decision == 0:
            return True
        return self._merged[decision].members[indices[0]] is not None

    def normal(self, indices: Sequence[int]) -> Indices:
        """Return the indices by which an architecture is known.

        They are 0 where a decision does not exist, and the first of several options that build the same there.
        """
        return self._joint(*self._own(indices))

    def at(self, number: int) -> Indices:
        """Return the architecture of a number below `size`; each has one."""
        left = number
        for place, variant in enumerate(self.variants):
            if left < variant.size:
                return self._joint(place, variant.at(left))
            left -= variant.size
        raise IndexError(f"{number} is not below {self.size}")

    def decode(self, indices: Sequence[int]) -> Architecture:
        """Return the architecture of one option index per decision."""
        number, own = self._own(indices)
        return self.variants[number].decode(own)

    def encode(self, architecture: Architecture) -> Indices | None:
        """Return the option indices that build the same at the same sites, or None if there are none."""
        for number, variant in enumerate(self.variants):
            if variant.host == architecture.host or not self._merged:
                own = variant.encode(architecture)
                return None if own is None else self._joint(number, own)
        return None

    def option_index(self, decision: int, module: str, knobs: dict[str, object]) -> int:
        """Return the option that a module with these values of its varied knobs builds; for the host, its label."""
        return self.decisions[decision].option_index(module, knobs)

    def neighbours(self, indices: Sequence[int]) -> list[Indices]:
        """Return the architectures that differ in exactly one decision, before limits.

        Another host keeps what stands at the sites that both have, and leaves the others empty where they may be.
        """
        number, own = self._own(indices)
        near = [self._joint(number, other) for other in self.variants[number].neighbours(own)]
        others = (other for other in range(len(self.variants)) if other != number)
        return [self._moved(indices, other) for other in others] + near

    def sample_indices(self, rng: np.random.Generator) -> Indices:
        """Draw an architecture's option indices, uniform over the distinct architectures within the limits.

        Raises:
            InputError: a million draws found nothing within the limits.
        """
        if self._merged:
            drawn = self._sampler.draw(rng)
        else:
            own = self.variants[0].sampler.draw(rng)
            drawn = None if own is None else (0, own)
        if drawn is None:
            raise InputError(f"{MAX_DRAWS:,} random architectures, and none within the limits ({self._limits})")
        return self._joint(*drawn)

    @cached_property
    def _sampler(self) -> UnionSampler:
        return UnionSampler([variant.sampler for variant in self.variants])

    @property
    def _limits(self) -> str:
        if not self._merged:
            return str(self.variants[0].bounds)
        return "; ".join(f"{variant.label}: {variant.bounds}" for variant in self.variants)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly from those within the limits (see `sample_indices`)."""
        return self.decode(self.sample_indices(rng))

    def cost(self, indices: Sequence[int]) -> Cost:
        """Return the cost of an architecture of the space without building it."""
        number, own = self._own(indices)
        return self.variants[number].cost(own)

    def violation(self, indices: Sequence[int]) -> str | None:
        """Return in words the limit that an architecture breaks, or None. Multiples are those of its own bare host."""
        number, own = self._own(indices)
        return self.variants[number].violation(own)

    def _own(self, indices: Sequence[int]) -> tuple[int, Indices]:
        """Return the number of the host that is chosen, and the option indices of its own decisions."""
        if not self._merged:
            return 0, tuple(indices)
        number = indices[0]
        own = [0] * len(self.variants[number].decisions)
        for decision, index in zip(self._merged[1:], indices[1:], strict=True):
            if member := decision.members[number]:
                own[member.number] = member.own[index]
        return number, tuple(own)

    def _joint(self, number: int, own: Sequence[int]) -> Indices:
        """Return the option indices of the space for those of one host."""
        if not self._merged:
            return tuple(own)
        members = (decision.members[number] for decision in self._merged[1:])
        return (number, *(member.own.index(own[member.number]) if member else 0 for member in members))

    def _moved(self, indices: Sequence[int], number: int) -> Indices:
        """Return what an architecture becomes on another host."""
        moved = [number]
        for place, decision in enumerate(self._merged[1:], start=1):
            if self.exists(place, indices):
                moved.append(indices[place])
            else:
                moved.append(next((i for i, option in enumerate(decision.options) if option.module == NONE), 0))
        return self.normal(moved)


def _within_limits(
    hosts: Sequence[HostConfig],
    decisions: Sequence[tuple[Decision, ...]],
    limits: LimitsConfig,
    document: Document,
) -> SearchSpace:
    """Return the space over the hosts on which something is within the limits. Raises InputError if there is none."""
    variants = [
        HostSpace(host, own, Bounds.of(limits, partial(host_cost, host)))
        for host, own in zip(hosts, decisions, strict=True)
    ]
    broken = [variant.out_of_reach() for variant in variants]
    reasons = [
        f"{variant.label}: the limit on {found[0]} is {found[1]:,}, and the least possible {found[2]:,}"
        for variant, found in zip(variants, broken, strict=True)
        if found
    ]
    if len(reasons) == len(variants):
        name, limit, least = min((found for found in broken if found), key=lambda found: LIMITED.index(found[0]))
        where = ("limits", name) if len({found[0] for found in broken if found}) == 1 else ("limits",)
        what = f"nothing satisfies the limit {limit:,}: the least possible is {least:,}"
        raise document.error(where, what if len(hosts) == 1 else f"nothing on any host; {'; '.join(reasons)}")
    kept = (variant for variant, found in zip(variants, broken, strict=True) if not found)
    return SearchSpace(tuple(kept), tuple(reasons))
