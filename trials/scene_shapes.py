"""The shapes of the scenes, each as the set of points that it holds.

Points (u, v) are relative to the shape's centre and to half its extent: every shape lies in the unit circle.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PENTAGRAM = math.cos(2 * math.pi / 5)
"""Distance of the five lines of a pentagram in the unit circle from its centre."""


def _disc(u: Plane, v: Plane) -> Mask:
    return u * u + v * v <= 1


def _rectangle(u: Plane, v: Plane) -> Mask:
    return (np.abs(u) <= 0.85) & (np.abs(v) <= 0.5)


def _triangle(u: Plane, v: Plane) -> Mask:
    return _enough_sides(u, v, 3, 0.5, 3)


def _ring(u: Plane, v: Plane) -> Mask:
    square = u * u + v * v
    return (square <= 1) & (square >= 0.3)


def _star(u: Plane, v: Plane) -> Mask:
    # A point of a pentagram lies on the inner side of at least four of its five lines.
    return _enough_sides(u, v, 5, _PENTAGRAM, 4)


def _cross(u: Plane, v: Plane) -> Mask:
    across, along = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
    return (across <= 0.3) & (along <= 0.95)


def _crescent(u: Plane, v: Plane) -> Mask:
    return (u * u + v * v <= 1) & ((u - 0.6) ** 2 + v * v >= 0.75)


def _frame(u: Plane, v: Plane) -> Mask:
    outward = np.maximum(np.abs(u), np.abs(v))
    return (outward <= 0.7) & (outward >= 0.4)


def _enough_sides(u: Plane, v: Plane, sides: int, distance: float, enough: int) -> Mask:
    """Return whether points lie on the inner side of `enough` of so many lines, evenly spread around the centre."""
    counts = np.zeros(np.broadcast(u, v).shape, dtype=np.int64)
    for side in range(sides):
        angle = 2 * math.pi * side / sides
        counts += u * math.cos(angle) + v * math.sin(angle) <= distance
    return counts >= enough


SHAPES: dict[str, Callable[[Plane, Plane], Mask]] = {
    "disc": _disc,
    "rectangle": _rectangle,
    "triangle": _triangle,
    "ring": _ring,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "frame": _frame,
}
"""From a shape's name to whether points lie in it, in the order of the class numbers from 1."""
