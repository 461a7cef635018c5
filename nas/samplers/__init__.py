"""Samplers: what proposes the next architecture."""

from nas.samplers.exhaustive import ExhaustiveSampler
from nas.samplers.optuna_copy import OptunaSampler
from nas.samplers.registry import AUTO, SAMPLERS, SamplerEntry, make_sampler, resolve_sampler, sampler_entry
from nas.samplers.sampler import BASELINE, Sampler
from nas.samplers.uniform import RandomSampler

__all__ = [
    "AUTO",
    "BASELINE",
    "SAMPLERS",
    "ExhaustiveSampler",
    "OptunaSampler",
    "RandomSampler",
    "Sampler",
    "SamplerEntry",
    "make_sampler",
    "resolve_sampler",
    "sampler_entry",
]
