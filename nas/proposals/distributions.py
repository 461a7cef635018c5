"""Optuna's distributions of parameters, each decoded once: ten thousand trials hold the same few dozen."""

from functools import lru_cache

from optuna.distributions import BaseDistribution, json_to_distribution


@lru_cache(maxsize=10_000)
def decoded(text: str) -> BaseDistribution:
    """Return the distribution of a JSON text; equal texts give the same object, which is not to be changed."""
    return json_to_distribution(text)
