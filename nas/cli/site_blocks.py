"""The sites of a host by stage and block, which kinds of modules go there, and which blocks are alike."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TypeVar

from search_spaces import Site
from search_spaces.attention import KINDS
from search_spaces.errors import unknown

_MANY = 4
"""From so many blocks on, those that differ in ever more channels only are drawn once."""

Item = TypeVar("Item")


def kinds_at(site: Site) -> tuple[str, ...]:
    """Return the kinds of modules that go to a site."""
    kinds = [kind for kind, what in KINDS.items() if site.place_kind in {place.rstrip("*") for place in what.places}]
    nothing_to = {"bridge": not site.sources, "merge": site.place_kind == "concat" and site.branch_operand is None}
    return tuple(kind for kind in kinds if not nothing_to.get(kind))


def sites_at(sites: Sequence[Site], place: str) -> list[Site]:
    """Return the sites at a place, named with or without its number. Raises InputError if there is none."""
    found = [site for site in sites if place in (site.place, site.place_kind)]
    if not found:
        raise unknown("place", place, dict.fromkeys(site.place_kind for site in sites))
    return found


@dataclass(frozen=True)
class Block:
    """The sites of a block; of a stage itself (its end, a pyramid's levels) where it has no path."""

    path: str
    sites: tuple[Site, ...]

    @property
    def structure(self) -> tuple[object, ...]:
        """What two blocks have in common that differ in their channels only."""
        return tuple(
            (site.place, site.resolution, kinds_at(site), tuple(source.resolution for source in site.sources))
            for site in self.sites
        )

    @property
    def channels(self) -> tuple[int, ...]:
        """Those of every site and of what a bridge reads there."""
        return tuple(n for site in self.sites for n in (site.channels, *(source.channels for source in site.sources)))


def blocks_of(stage: str, sites: Sequence[Site]) -> list[Block]:
    """Return the blocks of a stage from its sites, and first or last what is the stage's own."""
    # A stage may be named for its last block: its end is no part of that.
    by_path = grouped(sites, lambda site: "" if _is_stage_s(site, stage) else site.name.rpartition("/")[0])
    return [Block(path, tuple(members)) for path, members in by_path.items()]


def _is_stage_s(site: Site, stage: str) -> bool:
    return site.place == "end" or (site.name == f"{stage}/{site.place}" and site.block != stage)


def runs_of(blocks: Sequence[Block], fold: bool) -> Iterator[Sequence[Block]]:
    """Yield the blocks; with `fold`, those in a row that are alike, or alike but for growing channels, together."""
    if not fold:
        yield from ([block] for block in blocks)
        return
    for _, group in groupby(blocks, key=lambda block: block.structure):
        similar = list(group)
        if len(similar) >= _MANY and all(_grows(one.channels, other.channels) for one, other in pairwise(similar)):
            yield similar
        else:
            yield from (list(alike) for _, alike in groupby(similar, key=lambda block: block.channels))


def _grows(channels: Sequence[int], others: Sequence[int]) -> bool:
    return channels != others and all(one <= other for one, other in zip(channels, others, strict=True))


def grouped(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Return the items by their key, in the order of their first."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
