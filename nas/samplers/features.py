"""What a placement is described by, for predicting: counts, from single options up to what all sites share.

Each module that stands somewhere counts in five features: its place, its module, its module with these knobs, its
place with its module, and its place with its whole option. So a prior that treats all features alike expects what was
learnt of a module, or of a place, to hold elsewhere, and lets each place deviate. Where the host is a choice it is one
more place, always occupied.
"""

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np

from nas.samplers.genes import GenePool, Genes
from nas.samplers.ranking import Floats
from search_spaces.fitting import NONE

MOST_KEPT = 4096
"""Placements whose features are kept: all trials that are looked at, and some children; a few kilobytes each."""


class Features:
    """The features of a space's placements."""

    def __init__(self, pool: GenePool) -> None:
        self._pool = pool
        numbers: dict[Hashable, int] = {}
        rows = [
            [numbers.setdefault(key, len(numbers)) for key in _keys(place, index, option.module, str(option.spec))]
            for place, decision in enumerate(pool.space.decisions)
            for index, option in enumerate(decision.options)
        ]
        self._effects = np.zeros((len(rows), len(numbers)))
        for row, columns in zip(self._effects, rows, strict=True):
            row[columns] = 1.0
        sizes = [len(decision.options) for decision in pool.space.decisions]
        self._first = np.cumsum([0, *sizes[:-1]])

    def of(self, placements: Sequence[Genes]) -> Floats:
        """Return (placements, features); decisions that the chosen host does not have count nothing."""
        return np.stack([self._one(genes) for genes in placements])

    @lru_cache(maxsize=MOST_KEPT)  # noqa: B019 (features live as long as their search)
    def _one(self, genes: Genes) -> Floats:
        normal = self._pool.normal(genes)
        exists = [self._pool.space.exists(number, normal) for number in range(len(normal))]
        return np.asarray(self._effects[self._first + normal][exists].sum(axis=0))


def _keys(place: int, index: int, module: str, spec: str) -> list[Hashable]:
    if module == NONE:
        return []
    return [
        ("place", place),
        ("module", module),
        ("module with knobs", module, spec),
        ("place and module", place, module),
        ("place and option", place, index),
    ]
