"""What one training tells of an architecture's rank: from the table of really trained placements.

All against the whole training: Kendall's tau-b over the architectures, for each seed, and the mean of that over seeds.
`with its own`: the short training against the long one with the same seed; `with the others`: against the mean of the
long trainings with the other seeds, which is what a search wants to know. Intervals (95 %) are bootstrapped over
architectures. Reliability is the intraclass correlation ICC(C,1), as in `reports.findings.reliability`.
"""

from typing import Any

import numpy as np
from placement_table import Floats, Measured, Table

from reports.findings.reliability import bootstrap, consistency, seeds_needed

DRAWS = 1000
Rounded = dict[str, float]
"""A value and its interval: `value`, `low`, `high`."""


def ranking(table: Table) -> dict[str, Any]:
    """Return all of it, as data."""
    found: dict[str, Any] = {
        name: _of_one(quality, table) for name, quality in (("accuracy", table.accuracy), ("loss", table.loss))
    }
    accuracy, loss, full = table.accuracy.at, table.loss.at, table.full
    weights = _draw(table.space.size)
    found["loss over accuracy"] = {
        "reliability": _difference(loss[full], accuracy[full]),
        "as predictors of the others' mean accuracy": {
            str(n): _rounded(_others(-loss[n], accuracy[full], weights) - _others(accuracy[n], accuracy[full], weights))
            for n in table.lengths
        },
    }
    return found


def _of_one(quality: Measured, table: Table) -> dict[str, Any]:
    full, rungs = table.full, table.lengths[:-1]
    raw = {n: np.asarray(quality.after[:, :, n - 1]) for n in rungs}
    whole = quality.at[full]
    return {
        "spread": _spread(whole),
        "fidelities": {str(n): _prediction(quality.at[n], whole) for n in table.lengths},
        "raw cuts": {str(n): _prediction(raw[n], whole) for n in rungs},
        "annealed over raw": {str(n): _advantage(quality.at[n], raw[n], whole) for n in rungs},
        "reliability": {
            **{str(n): _reliability(quality.at[n]) for n in table.lengths},
            **{f"raw cut at {n}": _reliability(raw[n]) for n in rungs},
            **{f"mean of the last {k} epochs": _reliability(_last(quality, k)) for k in (2, 3)},
            **{f"the last {k} over the last": _difference(_last(quality, k), whole) for k in (2, 3)},
        },
    }


def _spread(quality: Floats) -> dict[str, float]:
    """Return standard deviations: of the architectures, corrected for the noise of their means; and of a training."""
    rows, k = quality.shape
    rest = quality - quality.mean(axis=1, keepdims=True) - quality.mean(axis=0) + quality.mean()
    noise = float((rest**2).sum()) / ((rows - 1) * (k - 1))
    true = max(0.0, float(quality.mean(axis=1).var(ddof=1)) - noise / k)
    found = {
        "of architectures (sd)": true**0.5,
        "of one training (sd)": noise**0.5,
        "of what a seed does to all alike (sd)": float(quality.mean(axis=0).std(ddof=1)),
        "mean": float(quality.mean()),
        "least": float(quality.mean(axis=1).min()),
        "most": float(quality.mean(axis=1).max()),
        "bare host": float(quality[0].mean()),
    }
    return {name: round(value, 5) for name, value in found.items()}


def _prediction(short: Floats, long: Floats) -> dict[str, Rounded]:
    weights = _draw(len(long))
    return {
        "with its own": _rounded(_own(short, long, weights)),
        "with the others": _rounded(_others(short, long, weights)),
    }


def _advantage(one: Floats, other: Floats, long: Floats) -> dict[str, Rounded]:
    """Return by how much one predicts better than the other, on the same draws."""
    weights = _draw(len(long))
    return {
        "with its own": _rounded(_own(one, long, weights) - _own(other, long, weights)),
        "with the others": _rounded(_others(one, long, weights) - _others(other, long, weights)),
    }


def _draw(num: int) -> Floats:
    """Return how often each row is drawn, (1 + DRAWS, rows); in the first all are, once."""
    rng = np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(num, size=num), minlength=num) for _ in range(DRAWS)]
    return np.array([np.ones(num), *drawn])


def _own(short: Floats, long: Floats, weights: Floats) -> Floats:
    return np.mean([_tau(short[:, k], long[:, k], weights) for k in range(long.shape[1])], axis=0)


def _others(short: Floats, long: Floats, weights: Floats) -> Floats:
    rest = [np.delete(long, k, axis=1).mean(axis=1) for k in range(long.shape[1])]
    return np.mean([_tau(short[:, k], others, weights) for k, others in enumerate(rest)], axis=0)


def _tau(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Return Kendall's tau-b of weighted rows for each draw: sums over pairs are quadratic forms of the weights."""
    a, b = (np.sign(each[:, None] - each) for each in (one, other))
    concordant, in_a, in_b = (((weights @ pairs) * weights).sum(axis=1) for pairs in (a * b, a * a, b * b))
    return np.asarray(concordant / np.sqrt(in_a * in_b))


def _last(quality: Measured, num: int) -> Floats:
    return np.asarray(quality.after[:, :, -num:].mean(axis=2))


def _reliability(quality: Floats) -> Rounded:
    found = bootstrap(quality, consistency)
    assert found is not None
    seeds = {"seeds for 0.8": round(seeds_needed(found.value), 1)}
    return {"value": round(found.value, 3), "low": round(found.low, 3), "high": round(found.high, 3), **seeds}


def _difference(one: Floats, other: Floats) -> Rounded:
    """Return by how much the one is more reliable than the other."""
    found = bootstrap(np.stack([one, other], axis=1), lambda rows: consistency(rows[:, 0]) - consistency(rows[:, 1]))
    assert found is not None
    return {"value": round(found.value, 3), "low": round(found.low, 3), "high": round(found.high, 3)}


def _rounded(drawn: Floats) -> Rounded:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": round(float(drawn[0]), 3), "low": round(float(low), 3), "high": round(float(high), 3)}
