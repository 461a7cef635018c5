"""Who may have children: the best of all that was trained, and the tournament among them.

The population is chosen anew from everything that is finished, not only from the last generation and its parents: a
trial costs a training, and nothing that was learnt is thrown away. So it is a function of the study alone.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas.samplers.ranking import Floats, Integers, crowding_by_rank, ranks
from nas.samplers.reference_points import associate, niching, normalise, reference_points

Selection = Literal["crowding", "reference points"]


@dataclass(frozen=True)
class Parents:
    """The chosen, by their numbers among the points they were chosen from, with what a tournament looks at."""

    numbers: Integers
    rank: Integers
    loneliness: Floats
    """The crowding distance; nothing (0) where reference points choose."""

    def tournament(self, generator: np.random.Generator) -> int:
        """Return the better of two drawn at random, by rank, then loneliness; the first of equals."""
        one, other = generator.integers(len(self.numbers), size=2)
        better = (self.rank[other], -self.loneliness[other]) < (self.rank[one], -self.loneliness[one])
        return int(self.numbers[other if better else one])


def choose_parents(
    points: Floats, levels: Floats, size: int, selection: Selection, generator: np.random.Generator
) -> Parents:
    """Choose the best `size` points, or all if there are fewer.

    Args:
        points: (points, objectives), minimised.
        levels: (points,) by how much each breaks constraints; see `ranking`.
    """
    rank = ranks(points, levels)
    if selection == "crowding":
        considered = np.flatnonzero(rank <= np.sort(rank)[:size][-1])
        loneliness = crowding_by_rank(points[considered], rank[considered])
        order = np.lexsort((-loneliness, rank[considered]))[:size]
        return Parents(considered[order], rank[considered][order], loneliness[order])
    numbers = _by_reference_points(points, rank, size, generator)
    return Parents(numbers, rank[numbers], np.zeros(len(numbers)))


def _by_reference_points(points: Floats, rank: Integers, size: int, generator: np.random.Generator) -> Integers:
    order = np.argsort(rank, kind="stable")
    if len(order) <= size:
        return order
    last = rank[order[size - 1]]
    order = order[: np.searchsorted(rank[order], last, side="right")]
    num_kept = int(np.searchsorted(rank[order], last))
    references = reference_points(points.shape[1], size)
    nearest, distance = associate(normalise(points[order]), references)
    chosen = niching(nearest, distance, num_kept, size - num_kept, generator)
    return np.concatenate([order[:num_kept], order[chosen]])
