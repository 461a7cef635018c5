"""Means over seeds when not every architecture has every seed: an additive model of architecture and seed.

A seed moves all architectures alike (the same split, the same host weights), so a mean over easy seeds flatters. The
model value = architecture + seed + rest, fitted by least squares, compares as if all had the same seeds (Searle, 1971,
"Linear models", section 7.1). Where all have the same seeds, its means are the plain ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Additive:
    """The fitted model."""

    means: Floats
    """Of each row over all columns, (rows,); NaN for a row without values."""
    rest: Floats
    """What the model leaves, (rows, columns); NaN where there was no value."""


def fit_additive(values: Floats) -> Additive:
    """Fit the model to a table (architectures, seeds); NaN marks what was not measured.

    Seeds that share no architecture with the others cannot be compared with them; of all fits, the one with the
    smallest seed effects is taken then.
    """
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    filled = np.where(known, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = filled.sum(axis=1) / counts
        shares = np.where(counts[:, None] > 0, known / counts[:, None], 0.0)
    centred = np.where(known, values - np.where(counts > 0, raw, 0.0)[:, None], 0.0)
    normal = np.diag(known.sum(axis=0).astype(float)) - known.T.astype(float) @ shares
    effects = np.linalg.pinv(normal, hermitian=True) @ centred.sum(axis=0)
    means = raw - shares @ effects + effects.mean()
    rest = np.where(known, values - means[:, None] - effects[None, :] + effects.mean(), np.nan)
    return Additive(means, rest)
