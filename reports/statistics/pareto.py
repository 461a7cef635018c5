"""Fronts, hypervolumes and the knee. Every objective is minimised here; `objectives.to_minimise` turns the signs.

Fronts and hypervolumes are computed by moocore (https://multi-objective.github.io/moocore).
"""

from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt

from reports.objectives import Floats

_MARGIN = 0.1
"""The reference point lies this share of each objective's range behind the worst value (Ishibuchi et al., 2018,
"How to specify a reference point in hypervolume calculation", recommend slightly worse than the nadir)."""


def nondominated(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which points, (points, objectives), no other point dominates.

    A point dominates another if it is nowhere worse and somewhere better; equal points are all kept. A point with NaN
    or an infinity is never kept and dominates nothing. No points give an empty mask.

    Raises:
        ValueError: points that are not two-dimensional.
    """
    array = _as_points(points)
    finite = np.isfinite(array).all(axis=1)
    mask = np.zeros(len(array), dtype=np.bool_)
    if finite.any():
        mask[finite] = moocore.is_nondominated(array[finite], keep_weakly=True)
    return mask


def order_by_rank(points: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the indices of points, (points, objectives), the best first, as NSGA-II orders them (Deb et al., 2002).

    Lower non-dominated rank first, within a rank larger crowding distance first, then lower index. A rank's ends in any
    objective have an infinite distance. Points with NaN or an infinity come last.

    Raises:
        ValueError: points that are not two-dimensional.
    """
    array = _as_points(points)
    finite = np.flatnonzero(np.isfinite(array).all(axis=1))
    order: list[int] = []
    if len(finite):
        ranks = moocore.pareto_rank(array[finite])
        for rank in np.unique(ranks):
            members = finite[ranks == rank]
            distances = _crowding_distances(array[members])
            order += members[np.lexsort((members, -distances))].tolist()
    return np.array([*order, *np.setdiff1d(np.arange(len(array)), finite)], dtype=np.int64)


def _crowding_distances(front: Floats) -> Floats:
    """Return for each point the sum over the objectives of the gap between its neighbours, as a share of the range."""
    distances = np.zeros(len(front))
    for column in front.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        gaps = np.full(len(front), np.inf)
        if span > 0:
            gaps[1:-1] = (column[order[2:]] - column[order[:-2]]) / span
            distances[order] += gaps
    return distances


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the volume that is dominated by points, (points, objectives), and bounded by the reference point.

    Points with NaN or an infinity, and points not better than the reference in every objective, add nothing; dominated
    and equal points change nothing. No points give 0.

    Raises:
        ValueError: points that are not two-dimensional, or a reference of another length.
    """
    array, corner = _as_points(points), np.asarray(reference, dtype=np.float64)
    if corner.shape != array.shape[1:]:
        raise ValueError(f"the reference must hold {array.shape[1]} objectives, got {corner.tolist()}")
    inside = np.isfinite(array).all(axis=1) & (array < corner).all(axis=1)
    return float(moocore.hypervolume(array[inside], ref=corner)) if inside.any() else 0.0


def knee(points: npt.ArrayLike) -> int:
    """Return the index of the best compromise on the front of points, (points, objectives).

    With each objective scaled to [0, 1] over the front, it is the point with the smallest sum: with two objectives the
    one furthest from the straight line between the front's ends, with more the one furthest below the plane through
    the unit points (Das, 1999, "On characterizing the 'knee' of the Pareto curve"). An objective in which the front
    does not differ counts nothing. Ties: the first. A front of one point is its own knee.

    Raises:
        ValueError: no finite point.
    """
    array = _as_points(points)
    front = np.flatnonzero(nondominated(array))
    if not len(front):
        raise ValueError("there is no knee without a finite point")
    low, span = array[front].min(axis=0), np.ptp(array[front], axis=0)
    scaled = (array[front] - low) / np.where(span > 0, span, 1.0)
    return int(front[np.argmin(scaled.sum(axis=1).round(12))])  # rounded: a tie stays a tie


def reference_point(points: npt.ArrayLike) -> Floats:
    """Return the worst finite value of each objective, moved away by a tenth of the objective's range.

    Where all points agree, it is moved by 1 so that the volume does not vanish.

    Raises:
        ValueError: no finite point.
    """
    array = _finite(points)
    worst, span = array.max(axis=0), np.ptp(array, axis=0)
    return np.asarray(worst + np.where(span > 0, _MARGIN * span, 1.0), dtype=np.float64)


@dataclass(frozen=True)
class Box:
    """Where hypervolumes are measured: 1 would be a single point that is best in everything."""

    best: Floats
    """(objectives,)"""
    corner: Floats
    """(objectives,) what nobody may be worse than to count."""


def box_around(points: npt.ArrayLike) -> Box:
    """Return the box from the best finite value of each objective to the `reference_point`.

    Raises:
        ValueError: no finite point.
    """
    return Box(_finite(points).min(axis=0), reference_point(points))


def hypervolume_history(points: npt.ArrayLike, box: Box | None = None) -> Floats:
    """Return the hypervolume after 1, 2, ... of the points, as a share of the box; not given, the box around them.

    Points that are better than the box's best can make it more than 1; those that are not finite repeat the value
    before. The curve never falls. No finite points give zeros.
    """
    array = _as_points(points)
    finite = np.atleast_1d(np.isfinite(array).all(axis=1))
    if not finite.any():
        return np.zeros(len(array))
    box = box or box_around(array)
    return _grow((array - box.best) / (box.corner - box.best), finite)


def _grow(scaled: Floats, finite: npt.NDArray[np.bool_]) -> Floats:
    """Recompute the volume only where the front changes."""
    unit = np.ones(scaled.shape[1])
    front = np.empty((0, scaled.shape[1]))
    history, volume = np.zeros(len(scaled)), 0.0
    for i, point in enumerate(scaled):
        if finite[i] and not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
            volume = max(volume, hypervolume(front, unit))
        history[i] = volume
    return history


def _as_points(points: npt.ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"points must have the shape (points, objectives), got {array.shape}")
    return array


def _finite(points: npt.ArrayLike) -> Floats:
    array = _as_points(points)
    array = array[np.isfinite(array).all(axis=1)]
    if not len(array):
        raise ValueError("there is no finite point")
    return array
