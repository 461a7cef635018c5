"""Mixtures of the images of a micro-batch, and the losses that take them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from trials.retrain.classification_recipe import AugmentConfig, LossConfig
from trials.retrain.draws import drawn_for

_STREAM = 21
"""Keeps the random numbers of mixtures apart from others of the same seed."""

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Mixer:
    """Mixes images of a micro-batch, and their classes, as `augment` says; one share for each micro-batch.

    Args:
        augment: which mixtures.
        num_classes: of the data.
        seed: of the training.
        epochs: of the training; the last `unmixed_epochs` of them are without.
    """

    def __init__(self, augment: AugmentConfig, num_classes: int, seed: int, epochs: int) -> None:
        mixtures: list[Mix] = []
        if augment.mixup:
            mixtures.append(v2.MixUp(alpha=augment.mixup, num_classes=num_classes))
        if augment.cutmix:
            mixtures.append(v2.CutMix(alpha=augment.cutmix, num_classes=num_classes))
        self._mix: Mix | None = v2.RandomChoice(mixtures) if mixtures else None
        self._seed = seed
        self._last = epochs - augment.unmixed_epochs

    def __call__(self, x_BCHW: Tensor, labels: Tensor, epoch: int, first_slot: int) -> tuple[Tensor, Tensor]:
        """Return the images and their targets: classes (B,) as they are, or after a mixture shares (B, K)."""
        if self._mix is None or epoch > self._last:
            return x_BCHW, labels
        with drawn_for(self._seed, _STREAM, epoch, first_slot):
            return self._mix(x_BCHW, labels)


def classification_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """Return the mean loss of a micro-batch.

    Args:
        logits: (B, K), float32.
        targets: classes (B,), or shares of them (B, K).
        config: which loss. `bce` is the mean over images and classes.
    """
    if config.kind == "cross_entropy":
        return F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
    num_classes = logits.shape[1]
    shares = targets if targets.ndim == 2 else F.one_hot(targets, num_classes).to(logits.dtype)
    smooth = torch.lerp(shares, torch.full_like(shares, 1 / num_classes), config.label_smoothing)
    return F.binary_cross_entropy_with_logits(logits, smooth)
