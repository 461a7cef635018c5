"""Torch's random numbers for one item or one micro-batch, drawn apart from all others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trials.retrain.batching import slot_rng


@contextmanager
def drawn_for(seed: int, stream: int, epoch: int, slot: int) -> Iterator[None]:
    """Have torch (on the CPU) draw inside from these numbers alone; outside, its random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(slot_rng(seed, stream, epoch, slot).integers(2**63)))
        yield
