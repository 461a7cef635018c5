"""What a trial will take, predicted from earlier ones: seconds, and bytes of memory.

The logarithm of a quantity is that of a scale (MACs for time) plus a ridge regression on what an architecture is made
of. The ridge is a prior that nothing but the scale matters, so that a few trials predict by their scale alone.

Intervals are those of the jackknife+ (Barber et al., 2021, arXiv:1905.02928), from 20 trials on of CV+ with 20 folds:
`COVERAGE` of what is like the trials seen, at least 2 x `COVERAGE` - 1 whatever the noise. A search moves on to
architectures that are less and less like those, which no interval knows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces import Architecture, find_sites, measure_cost
from search_spaces.activations import measure_activations

COVERAGE = 0.9
MOST_FOLDS = 20
LEAST_FOR_AN_INTERVAL = math.ceil(1 / (1 - COVERAGE) - 1e-9) - 1
"""With fewer trials no finite interval has the coverage."""

_SD_OF_LOGS, _SD_OF_COUNTS, _NOISE = 0.5, 0.02, 0.1
"""The ridge as a prior: what one unit of a logarithm, and one module, add to the logarithm of a quantity; and what the
same architecture differs by from trial to trial. Not tuned: with 1.5 to 20 for the ratio of the first to
the noise and 0 to 0.6 for that of the second, errors on two sets of real trials differed by 15 % at most."""

Floats = npt.NDArray[np.float64]
Modules = Mapping[tuple[str, tuple[int, int] | None], int]


@dataclass(frozen=True)
class Features:
    """What is known of an architecture before it is trained."""

    params: int
    macs: int
    written: int
    """Elements that a forward pass writes; see `Activations`."""
    kept: int
    """Elements that training must keep; see `Activations`."""
    modules: Modules
    """How many of each kind of module there are, at each resolution and (None) in all."""


@dataclass(frozen=True)
class Prediction:
    """A quantity's expected value and the interval of `COVERAGE`; its ends are None with too few trials."""

    value: float
    low: float | None = None
    high: float | None = None


Scale = Callable[[Features], float]


@lru_cache(maxsize=10_000)
def features_of(architecture: Architecture) -> Features:
    """Return the features of an architecture; nothing is built but each module once without data."""
    cost, activations = measure_cost(architecture), measure_activations(architecture)
    resolutions = {site.name: site.resolution for site in find_sites(architecture.host)}
    modules: dict[tuple[str, tuple[int, int] | None], int] = {}
    for name, specs in architecture.items:
        for spec in specs:
            for key in ((spec.module, resolutions[name]), (spec.module, None)):
                modules[key] = modules.get(key, 0) + 1
    return Features(cost.params, cost.macs, activations.written, activations.kept, modules)


class Law:
    """One quantity as a function of the features.

    Args:
        features: of each trial; the order does not matter.
        values: what each took, above 0.
        scale: what the quantity is proportional to as far as nothing else is known.
    """

    def __init__(self, features: Sequence[Features], values: Sequence[float], scale: Scale) -> None:
        self._scale, self._num = scale, len(values)
        # From nothing but the trials, so that their order changes no bit.
        order = sorted(range(len(values)), key=lambda i: (_key(features[i]), values[i]))
        self._features, self._values = [features[i] for i in order], [values[i] for i in order]
        self._columns = sorted({key for each in features for key in each.modules}, key=str)
        self._logs = np.array([self._log(f, v) for f, v in zip(self._features, self._values, strict=True)])
        self._matrix = np.array([self._row(each) for each in self._features])
        self._folds: tuple[Floats, npt.NDArray[np.int64], Floats] | None = None
        if self._num:
            self._fitted = self._fit(np.ones(self._num, dtype=bool))

    def predict(self, features: Features) -> Prediction | None:
        """Return what an architecture will take, or None without a trial to tell from."""
        if not self._num:
            return None
        row, scale = self._row(features), self._scale(features)
        value = scale * math.exp(row @ self._fitted)
        if self._num < LEAST_FOR_AN_INTERVAL:
            return Prediction(value)
        fits, fold, errors = self._left_out()
        guesses = (fits @ row)[fold]
        rank = math.ceil(COVERAGE * (self._num + 1) - 1e-9)
        low = scale * math.exp(np.sort(guesses - errors)[self._num - rank])
        high = scale * math.exp(np.sort(guesses + errors)[rank - 1])
        return Prediction(value, min(low, value), max(high, value))

    def _left_out(self) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
        """Return the fits without each fold; each trial's fold, and how far that fold's fit is from it."""
        if self._folds is None:
            fold = np.arange(self._num) % MOST_FOLDS
            fits = np.array([self._fit(fold != number) for number in range(int(fold.max()) + 1)])
            self._folds = fits, fold, np.abs(self._logs - (fits[fold] * self._matrix).sum(axis=1))
        return self._folds

    def _fit(self, seen: npt.NDArray[np.bool_]) -> Floats:
        """Return the coefficients of the columns, the constant last, from those trials."""
        from sklearn.linear_model import Ridge  # a second and 80 MB to import, which only a search needs

        model = Ridge().fit(self._matrix[seen, :-1], self._logs[seen])
        return np.append(model.coef_, model.intercept_)

    def _log(self, features: Features, value: float) -> float:
        return math.log(value) - math.log(self._scale(features))

    def _row(self, features: Features) -> Floats:
        """Return the columns in units in which Ridge's own penalty, 1, is the prior; the last is the constant."""
        logs = [math.log(features.macs), math.log(features.params), math.log(features.written)]
        counts = [features.modules.get(key, 0) for key in self._columns]
        scaled = [*(each * _SD_OF_LOGS / _NOISE for each in logs), *(each * _SD_OF_COUNTS / _NOISE for each in counts)]
        return np.array([*scaled, 1.0])


def _key(features: Features) -> tuple[Any, ...]:
    return features.macs, features.params, features.written, sorted(map(str, features.modules.items()))
