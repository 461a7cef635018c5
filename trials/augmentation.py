"""Random crops and flips of whole batches, on the device.

The random numbers are drawn on the CPU, once per epoch, from (seed, epoch) alone: seed k shows every
architecture the same images in the same order, shifted and mirrored in the same way, on every device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trials.data import Augmentation
from trials.splits import Index

_STREAM = 2
"""Keeps these random numbers apart from those of the split under the same seed."""


@dataclass(frozen=True)
class EpochPlan:
    """The order of the images in an epoch and what happens to each: vectors on the device."""

    order: Tensor
    """Positions in the data set."""
    top: Tensor
    """First row of the crop in the padded image, 0 to 2 * padding."""
    left: Tensor
    """First column."""
    flip: Tensor
    """Whether the crop is mirrored."""

    def batch(self, start: int, size: int) -> "EpochPlan":
        """Return the plan of `size` images from `start` on."""
        part = slice(start, start + size)
        return EpochPlan(self.order[part], self.top[part], self.left[part], self.flip[part])


def plan_epoch(index: Index, how: Augmentation, seed: int, epoch: int, device: torch.device) -> EpochPlan:
    """Draw an epoch over the images at `index`, each once."""
    rng = np.random.default_rng((seed, _STREAM, epoch))
    order = rng.permutation(index)
    top, left = rng.integers(0, 2 * how.crop_padding, size=(2, len(index)), endpoint=True)
    flip = rng.random(len(index)) < (0.5 if how.flip else 0.0)
    return EpochPlan(*(torch.from_numpy(array).to(device) for array in (order, top, left, flip)))


def augment(images: Tensor, batch: EpochPlan, how: Augmentation) -> Tensor:
    """Return a batch (B, C, H, W), uint8: crops of the zero-padded images (N, C, H, W), some mirrored."""
    x_BCHW = images[batch.order]
    if how.crop_padding:
        height, width = x_BCHW.shape[2:]
        padded = F.pad(x_BCHW, (how.crop_padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, H, W), a view
        x_BCHW = windows[torch.arange(len(x_BCHW), device=padded.device), :, batch.top, batch.left]
    if how.flip:
        x_BCHW = torch.where(batch.flip[:, None, None, None], x_BCHW.flip(3), x_BCHW)
    return x_BCHW
