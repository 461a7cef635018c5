"""Random crops, flips, holes and mixtures of whole batches, on the device; labels of pixels move with their image.

The random numbers are drawn on the CPU, once per epoch, from (seed, epoch) alone: seed k shows every
architecture the same images in the same order, shifted and mirrored in the same way, on every device. What is added
by a setting is drawn apart from the rest, which stays as it is without the setting.

Cutout: DeVries and Taylor, arXiv:1708.04552. Mixup: Zhang et al., arXiv:1710.09412. Alternating flips: Jordan,
arXiv:2404.00498, section 3.6.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trials.data import Augmentation
from trials.splits import Index

_STREAM, _HOLES, _SHARES, _COINS = 2, 3, 4, 5
"""Keep these random numbers apart from each other and from those of the split under the same seed."""


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
    hole: Tensor | None = None
    """(N, 2), the middle of what is cut out, as a share of height and width in [0, 1); None: nothing is."""
    share: Tensor | None = None
    """Of the image itself where it is mixed with the one before it in the batch, float32; None: it is not."""

    def batch(self, start: int, size: int) -> "EpochPlan":
        """Return the plan of `size` images from `start` on."""
        part = slice(start, start + size)
        hole, share = (None if values is None else values[part] for values in (self.hole, self.share))
        return EpochPlan(self.order[part], self.top[part], self.left[part], self.flip[part], hole, share)


def plan_epoch(
    index: Index,
    how: Augmentation,
    seed: int,
    epoch: int,
    device: torch.device,
    *,
    flip: Literal["random", "alternating"] = "random",
    mixup: float = 0.0,
) -> EpochPlan:
    """Draw an epoch over the images at `index`, each once.

    Args:
        index: positions of the training images.
        how: what may happen to each.
        seed: not negative.
        epoch: from 1.
        device: to put the plan on.
        flip: `alternating` draws the images that are mirrored in the first epoch, and mirrors the others in the
            second, the first again in the third, and so on, if `how` flips at all.
        mixup: alpha of the Beta distribution, the same on both sides, that each image's share is drawn from; 0: none.
    """
    rng = np.random.default_rng((seed, _STREAM, epoch))
    order = rng.permutation(index)
    top, left = rng.integers(0, 2 * how.crop_padding, size=(2, len(index)), endpoint=True)
    mirrored = rng.random(len(index)) < (0.5 if how.flip else 0.0)
    if how.flip and flip == "alternating":
        coins = np.random.default_rng((seed, _COINS)).random(int(index.max()) + 1) < 0.5
        mirrored = coins[order] ^ (epoch % 2 == 0)
    drawn = {"order": order, "top": top, "left": left, "flip": mirrored}
    if how.cutout:
        drawn["hole"] = np.random.default_rng((seed, _HOLES, epoch)).random((len(index), 2))
    if mixup:
        shares = np.random.default_rng((seed, _SHARES, epoch)).beta(mixup, mixup, len(index))
        drawn["share"] = shares.astype(np.float32)
    return EpochPlan(**{name: torch.from_numpy(values).to(device) for name, values in drawn.items()})


def augment_labels(labels: Tensor, batch: EpochPlan, how: Augmentation) -> Tensor:
    """Return the labels of a batch, int64: those of images (N,) as they are, those of pixels (N, H, W) moved.

    With `crop: zero`, what comes in from outside an image has class 0, the background: the zero-padding is plain
    ground. With `crop: reflect` it has the class of the pixel that it mirrors.
    """
    if labels.ndim == 1:
        return labels[batch.order]
    return augment(labels[:, None], batch, how)[:, 0].long()


def augment(images: Tensor, batch: EpochPlan, how: Augmentation) -> Tensor:
    """Return a batch (B, C, H, W), uint8: crops of the padded images (N, C, H, W), some mirrored."""
    x_BCHW = images[batch.order]
    if how.crop_padding:
        height, width = x_BCHW.shape[2:]
        padded = _reflect(x_BCHW, how.crop_padding) if how.crop == "reflect" else F.pad(x_BCHW, (how.crop_padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, H, W), a view
        x_BCHW = windows[torch.arange(len(x_BCHW), device=padded.device), :, batch.top, batch.left]
    if how.flip:
        x_BCHW = torch.where(batch.flip[:, None, None, None], x_BCHW.flip(3), x_BCHW)
    return x_BCHW


def _reflect(x_BCHW: Tensor, padding: int) -> Tensor:
    """Pad with what the edge mirrors, the edge itself not repeated: torch pads bytes so on a CPU only."""
    height, width = x_BCHW.shape[2:]
    rows, columns = (
        (length - 1 - (length - 1 - torch.arange(-padding, length + padding, device=x_BCHW.device).abs()).abs())
        for length in (height, width)
    )
    return x_BCHW[:, :, rows][:, :, :, columns]


def alter(x_BCHW: Tensor, batch: EpochPlan, how: Augmentation) -> Tensor:
    """Cut holes into a batch of normalised images and mix it, as far as planned.

    A hole is a square of `cutout` pixels around any pixel, so that a part of it may lie outside the image; it is
    filled with 0, the mean. The published code makes an odd side one pixel shorter, which is not done here.

    A mixture is share * image + (1 - share) * the image before it in the batch (of the first: the last); since the
    order is random, so is the pair. Departure from the paper's code, which draws one share for each batch: one for
    each image, as in the paper's equation.
    """
    if batch.hole is not None:
        height, width = x_BCHW.shape[2:]
        top, left = (
            (batch.hole[:, axis, None] * length).long() - how.cutout // 2 for axis, length in enumerate((height, width))
        )
        rows, columns = (torch.arange(length, device=x_BCHW.device) for length in (height, width))
        in_rows_BH, in_columns_BW = (
            (places >= start) & (places < start + how.cutout) for places, start in ((rows, top), (columns, left))
        )
        x_BCHW = x_BCHW.masked_fill((in_rows_BH[:, :, None] & in_columns_BW[:, None, :])[:, None], 0.0)
    if batch.share is not None:
        x_BCHW = torch.lerp(x_BCHW.roll(1, 0), x_BCHW, batch.share[:, None, None, None])
    return x_BCHW
