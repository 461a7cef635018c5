"""What a gene may become: the options of each decision, by module, and which of them lie close to each other."""

import math
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from typing import Any

from search_spaces import SearchSpace
from search_spaces.fitting import NONE
from search_spaces.space.decisions import Option

Genes = tuple[int, ...]
"""One option index per decision; of decisions that the chosen host does not have too, where they are silent."""
MOST_KEPT = 1 << 16
"""Placements whose normal form is kept: those of the trials, and children that may come again."""


class GenePool:
    """The decisions of a space as a genetic algorithm sees them."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.names = [decision.name for decision in space.decisions]
        self._options = [decision.options for decision in space.decisions]
        self.empty = [_empty(options) for options in self._options]
        """Per decision the option that places nothing, or None."""
        self.normal = lru_cache(MOST_KEPT)(space.normal)

    @cached_property
    def open(self) -> list[int]:
        """The decisions with more than one option."""
        return [number for number, options in enumerate(self._options) if len(options) > 1]

    @cached_property
    def may_be_empty(self) -> list[int]:
        return [number for number in self.open if self.empty[number] is not None]

    def active(self, genes: Genes) -> Sequence[int]:
        """Return the open decisions that the chosen host has: where a change changes something."""
        if len(self.space.variants) == 1:
            return self.open
        return [number for number in self.open if self.space.exists(number, genes)]

    @cached_property
    def tunable(self) -> frozenset[int]:
        """The open decisions with more than one option that places something."""
        return frozenset(n for n in self.open if sum(map(len, self.modules(n).values())) > 1)

    @cache  # noqa: B019 (a pool lives as long as its search)
    def modules(self, number: int) -> dict[str, list[int]]:
        """Return a decision's options by module, without the empty one."""
        found: dict[str, list[int]] = {}
        for index, option in enumerate(self._options[number]):
            if index != self.empty[number]:
                found.setdefault(option.module, []).append(index)
        return found

    def siblings(self, number: int, index: int) -> list[int]:
        """Return the options of a decision with the module of one of them, but other knobs."""
        module = self._options[number][index].module
        return [other for other in self.modules(number).get(module, []) if other != index]

    @cache  # noqa: B019
    def translated(self, number: int, index: int, other: int) -> int | None:
        """Return what a decision's option is at another one: its module with the same knobs, else the nearest.

        None where the other decision does not have the module.
        """
        option = self._options[number][index]
        candidates = self.modules(other).get(option.module, [])
        return min(candidates, key=lambda each: _distance(option, self._options[other][each]), default=None)


def _empty(options: Sequence[Option]) -> int | None:
    return next((index for index, option in enumerate(options) if option.module == NONE), None)


def _distance(one: Option, other: Option) -> float:
    """Return how far the knobs of one module lie apart: numbers by their ratio in powers of two, others by 1."""
    mine, theirs = (option.spec.knobs if option.spec else {} for option in (one, other))
    return sum(_apart(mine.get(knob), theirs.get(knob)) for knob in {**mine, **theirs})


def _apart(one: Any, other: Any) -> float:
    if one == other:
        return 0.0
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in (one, other)
    )
    return abs(math.log2(one / other)) if numbers else 1.0
