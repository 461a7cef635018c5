"""Elementwise work on large tensors on a CPU: a few images at a time, so that what lies between stays in the cache.

On one core, for (128, 16, 32, 32) in bfloat16, the backward pass of `entropy.mean_and_entropy` takes 7.4 ns per
element at once and 2.5 ns in pieces: fresh memory for whole tensors costs more than the arithmetic.
"""

import torch
from torch import Tensor, nn

_NUM_ELEMENTS = 2**18


def is_eager_on_cpu(x: Tensor) -> bool:
    """Say whether x has values on a CPU that may be looked at: no trace, no fake tensor or other subclass."""
    return x.device.type == "cpu" and type(x) in (Tensor, nn.Parameter) and not torch.compiler.is_compiling()


def pieces(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut tensors of one batch, the largest first, alike along the batch; on other devices they stay whole."""
    largest = tensors[0]
    if largest.device.type != "cpu" or largest.numel() <= _NUM_ELEMENTS:
        return [tensors]
    num_images = max(1, _NUM_ELEMENTS * len(largest) // largest.numel())
    return list(zip(*(torch.split(tensor, num_images) for tensor in tensors), strict=True))
