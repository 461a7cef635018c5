"""Hypervolumes of searches over what they cost, their means over repetitions, and when a goal is reached."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from replay import Curves, Floats, Problem, Replayed, curves
from scipy.stats import t as student

BOOTSTRAPS = 1000


def over_costs(problem: Problem, found: Replayed, spent: Sequence[float], grid: Floats) -> Curves:
    """Return a search's hypervolumes at the costs of a grid; 0 before anything was finished.

    Args:
        spent: what had been spent when each of `found.finished` was, in the grid's unit.
    """
    grown = curves(problem, found.finished)
    last = np.searchsorted(np.asarray(spent), grid, side="right") - 1
    held, archive = (np.where(last < 0, 0.0, each[np.maximum(last, 0)]) for each in (grown.held, grown.archive))
    return Curves(held, archive)


def summarise(grown: Sequence[Curves], random: Sequence[Curves], grid: Floats, at: Sequence[float]) -> dict[str, Any]:
    """Return some searches' hypervolumes, and when they reach what others have at their end.

    Args:
        grown: the searches, over the grid's costs.
        random: those whose end is the goal, one for each.
        grid: costs, ascending.
        at: costs at which hypervolumes are told.
    """
    where = [int(np.searchsorted(grid, cost, side="right")) - 1 for cost in at]
    summary: dict[str, Any] = {"at": list(at)}
    for what in ("held", "archive"):
        curve, base = (np.array([getattr(each, what) for each in some]) for some in (grown, random))
        summary[what] = [mean_with_interval(curve[:, index].tolist()) for index in where]
        summary[f"at its end ({what})"] = mean_with_interval(curve[:, -1].tolist())
        summary[f"reached ({what})"] = reached_with_interval(curve, base[:, -1], grid)
    return summary


def reached_with_interval(curve: Floats, goal: Floats, grid: Floats) -> list[float | None]:
    """Return the cost from which on the mean curve is not below the mean goal, and its interval; None is never.

    Args:
        curve: (repetitions, costs)
        goal: (repetitions,)
        grid: (costs,)
    """
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(goal), size=len(goal)) for _ in range(BOOTSTRAPS)]

    def cost(rows: Any) -> float:
        number = reached_for_good(curve[rows].mean(axis=0), float(goal[rows].mean()))
        return math.inf if math.isinf(number) else float(grid[int(number) - 1])

    found = sorted(cost(rows) for rows in drawn)
    ends = (found[int(BOOTSTRAPS * share)] for share in (0.025, 0.975))
    return [None if math.isinf(each) else round(each, 3) for each in (cost(slice(None)), *ends)]


def mean_with_interval(values: Sequence[float]) -> list[float]:
    """Return the mean and Student's interval of 95 %."""
    n, mean = len(values), float(np.mean(values))
    half = float(student.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return [round(value, 4) for value in (mean, mean - half, mean + half)]


def reached_for_good(curve: Floats, goal: float) -> float:
    """Return the number of trainings from which on a curve is not below the goal; infinite if it is in the end."""
    below = np.flatnonzero(curve < goal)
    number = int(below[-1]) + 2 if len(below) else 1
    return number if number <= len(curve) else math.inf
