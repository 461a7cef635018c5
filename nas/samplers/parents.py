"""Who may have children: the best of a population, spread over the front.

NSGA-II (Deb et al., 2002) where crowding chooses among equals, NSGA-III (Deb and Jain, 2014) where reference points do.
"""

from typing import Literal

import numpy as np

from nas.samplers.ranking import Floats, Integers, crowding_by_rank, ranks
from nas.samplers.reference_points import associate, niching, normalise, reference_points

Selection = Literal["crowding", "reference points"]


def contenders(points: Floats, levels: Floats, size: int) -> Integers:
    """Return the numbers of the points in the best ranks, as many ranks as hold `size` points.

    To whom `choose_parents` gives children among these and others is whom it gives them among all, in a fraction of
    the time.
    """
    rank = ranks(points, levels)
    return np.flatnonzero(rank <= np.sort(rank)[:size][-1])


def best_first(points: Floats, levels: Floats) -> Integers:
    """Return the points' numbers by rank, then the loneliest first.

    Args:
        points: (points, objectives), minimised.
        levels: (points,) by how much each breaks constraints; see `ranking`.
    """
    rank = ranks(points, levels)
    return np.lexsort((-crowding_by_rank(points, rank), rank))


def choose_parents(
    points: Floats, levels: Floats, size: int, selection: Selection, generator: np.random.Generator
) -> Integers:
    """Return the numbers of the best `size` points, or of all if there are fewer; see `best_first`."""
    if selection == "crowding":
        return best_first(points, levels)[:size]
    return _by_reference_points(points, ranks(points, levels), size, generator)


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
