"""Uniform draws over the architectures of a space."""

import numpy as np

from nas.proposals.parameters import Draw
from nas.samplers.sampler import Sampler


class RandomSampler(Sampler):
    """Draw uniformly over architectures within the limits (not over each parameter's values)."""

    def draw(self, seed: int) -> Draw | None:
        return self.adopt(self.space.sample_indices(np.random.default_rng(seed)))
