"""Which of the finished trials are better: levels, non-dominated ranks, crowding.

NSGA-II: Deb et al., 2002, "A fast and elitist multiobjective genetic algorithm", sections III-A and III-B. Every
objective is minimised here. A trial's *level* is by how much it breaks constraints, 0 for one that breaks none; what is
on a lower level comes first, whatever its values, and values are compared within one level only. (Optuna's own NSGA-II
does not compare what breaks constraints by as much, and trials that early stopping ended at one epoch do.)
"""

import moocore
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def ranks(points: Floats, levels: Floats) -> Integers:
    """Return each point's rank, 0 for the best: the fronts of the lowest level in their order, then of the next.

    Args:
        points: (points, objectives), finite.
        levels: (points,)
    """
    result = np.zeros(len(points), dtype=np.int64)
    first = 0
    for level in np.unique(levels):
        here = np.flatnonzero(levels == level)
        result[here] = first + moocore.pareto_rank(points[here])
        first = int(result[here].max()) + 1
    return result


def crowding_by_rank(points: Floats, rank: Integers) -> Floats:
    """Return each point's crowding distance, (points,), among those of its rank: the more, the lonelier.

    The ends of each objective are infinitely lonely. An objective in which no two points of a rank differ counts
    nothing.
    """
    distances = np.zeros(len(points))
    if not len(points):
        return distances
    for values in points.T:
        order = np.lexsort((values, rank))
        ordered, group = values[order], rank[order]
        is_first = np.append(True, group[1:] != group[:-1])
        is_last = np.append(is_first[1:], True)
        (first,), (last,) = is_first.nonzero(), is_last.nonzero()
        span = np.repeat(ordered[last] - ordered[first], last - first + 1)
        gaps = np.full(len(points), np.inf)
        gaps[1:-1] = ordered[2:] - ordered[:-2]
        gaps[is_first | is_last] = np.inf
        distances[order] += np.divide(gaps, span, out=np.zeros(len(points)), where=span > 0)
    return distances
