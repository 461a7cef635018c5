"""Whether a trial's network is compiled (`torch.compile`): every architecture pays for it anew."""

from dataclasses import dataclass
from typing import Literal

import torch

EXPECTED_MACS_PER_S = 10e12
"""Assumed of any CUDA device; not measured. Small networks are slower, so that the time expected is the least."""
WORTHWHILE_S = 600.0
"""A tenth of it pays for a minute of compiling."""


@dataclass(frozen=True)
class Compiling:
    """Whether a network is compiled, and why."""

    is_on: bool
    why: str

    def __str__(self) -> str:
        return f"{'compiled' if self.is_on else 'not compiled'}: {self.why}"


def decide_compiling(asked: bool | Literal["auto"], device: torch.device, macs: int, num_images: int) -> Compiling:
    """Return what was decided, from what is known before the training: the same for the same trial on a device.

    `auto` compiles on CUDA where training takes `WORTHWHILE_S` or more at `EXPECTED_MACS_PER_S`, with three times the
    forward pass's multiply-accumulates for an image. Never on a CPU: of ResNet-20 and ResNet-18 a step took 0.95 to
    1.07 of the time for 17 to 39 s of compiling.

    Args:
        asked: as in the recipe.
        device: to train on.
        macs: of the network, for one image.
        num_images: shown over the whole training.
    """
    if asked != "auto":
        return Compiling(asked, f"`compile: {str(asked).lower()}`")
    if device.type != "cuda":
        return Compiling(False, "auto, it does not pay on a CPU")
    expected_s = 3 * macs * num_images / EXPECTED_MACS_PER_S
    is_long = expected_s >= WORTHWHILE_S
    return Compiling(
        is_long,
        f"auto, {expected_s:.0f} s of training expected at least, and it pays from {WORTHWHILE_S:.0f} s on",
    )
