"""NSGA-III's choice among points of one rank: those nearest to reference directions that few others serve.

Deb and Jain, 2014, "An evolutionary many-objective optimization algorithm using reference-point-based nondominated
sorting approach, part I", section IV. Every objective is minimised.
"""

from itertools import combinations

import numpy as np

from nas.samplers.ranking import Floats, Integers

_ASIDE = 1e6
"""What the other objectives weigh where the extreme point of one is looked for (equation 4: their weight is 1e-6, and
the objectives are divided by it)."""


def reference_points(num_objectives: int, num_wanted: int) -> Floats:
    """Return points spread evenly over the unit simplex, (points, objectives), the fewest that are not below a number.

    Those of Das and Dennis, 1998: all multiples of 1 / divisions that add up to 1.
    """
    divisions = 1
    while num_objectives > 1 and _num_points(num_objectives, divisions) < num_wanted:
        divisions += 1
    bars = combinations(range(divisions + num_objectives - 1), num_objectives - 1)
    edges = np.array([(-1, *bar, divisions + num_objectives - 1) for bar in bars])
    return np.asarray((np.diff(edges, axis=1) - 1) / divisions, dtype=np.float64)


def _num_points(num_objectives: int, divisions: int) -> int:
    return int(np.prod([(divisions + i) / i for i in range(1, num_objectives)]).round())


def normalise(points: Floats) -> Floats:
    """Return points, (points, objectives), shifted and scaled so that the plane through the extreme points is sum = 1.

    Where the extreme points span no plane, or one that does not cut every axis in front of the points, the largest
    value of each objective is taken instead. An objective in which no two points differ becomes 0.
    """
    shifted = points - points.min(axis=0)
    num_objectives = points.shape[1]
    weights = np.where(np.eye(num_objectives, dtype=bool), 1.0, _ASIDE)
    extreme = shifted[np.argmin((shifted[:, None, :] * weights).max(axis=2), axis=0)]
    most = shifted.max(axis=0)
    if np.linalg.matrix_rank(extreme) == num_objectives:
        inverse = np.linalg.solve(extreme, np.ones(num_objectives))
        intercepts = np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1.0), most)
    else:
        intercepts = most
    return np.asarray(shifted / np.where(intercepts > 0, intercepts, 1.0))


def associate(points: Floats, references: Floats) -> tuple[Integers, Floats]:
    """Return each normalised point's nearest reference line, and its distance from it."""
    directions = references / np.linalg.norm(references, axis=1, keepdims=True)
    along = points @ directions.T
    squared = (points**2).sum(axis=1, keepdims=True) - along**2
    nearest = squared.argmin(axis=1)
    return nearest, np.sqrt(np.maximum(squared[np.arange(len(points)), nearest], 0))


def niching(
    nearest: Integers, distance: Floats, num_kept: int, num_wanted: int, generator: np.random.Generator
) -> list[int]:
    """Choose among the points from number `num_kept` on; those before it are kept already (algorithm 4).

    Args:
        nearest, distance: of all points, kept ones first; see `associate`.

    Returns:
        The numbers of `num_wanted` points, or of all there are.
    """
    served = np.bincount(nearest[:num_kept], minlength=int(nearest.max(initial=0)) + 1)
    left = list(range(num_kept, len(nearest)))
    chosen: list[int] = []
    while left and len(chosen) < num_wanted:
        niches = sorted({int(nearest[i]) for i in left})
        fewest = min(served[niche] for niche in niches)
        niche = int(generator.choice([each for each in niches if served[each] == fewest]))
        here = [i for i in left if nearest[i] == niche]
        # A niche that nobody serves gets the one closest to its line, any other one at random.
        taken = min(here, key=lambda i: distance[i]) if fewest == 0 else int(generator.choice(here))
        chosen.append(taken)
        left.remove(taken)
        served[niche] += 1
    return chosen
