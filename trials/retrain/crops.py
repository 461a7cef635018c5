"""What is done to an image on disk between its decoding and the device: torchvision's transforms, of uint8.

Crops: Szegedy et al., arXiv:1409.4842, section 6. Progressive resizing: see `ResizingConfig`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from trials.retrain.classification_recipe import AugmentConfig, CropConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, in [0, 1], as torchvision and the papers have them."""

Transform = Callable[[Tensor], Tensor]

_POLICIES: dict[str, Callable[[], Transform]] = {
    "autoaugment": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
    "autoaugment_cifar10": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "randaugment": v2.RandAugment,
    "trivialaugment": v2.TrivialAugmentWide,
}


def train_size(crop: CropConfig, epoch: int) -> int:
    """Return the height and width of a training crop in an epoch, counted from 1."""
    resizing = crop.resizing
    if resizing is None:
        return crop.train_size
    past = epoch - 1
    if past <= resizing.from_epoch:
        return resizing.start
    if past >= resizing.to_epoch:
        return resizing.end
    share = (past - resizing.from_epoch) / (resizing.to_epoch - resizing.from_epoch)
    return resizing.multiple * round((resizing.start + share * (resizing.end - resizing.start)) / resizing.multiple)


def policy(augment: AugmentConfig) -> Transform | None:
    """Return the augmentation policy of a recipe, of uint8 images (3, H, W); None if it has none."""
    return None if augment.policy == "none" else _POLICIES[augment.policy]()


def training_transform(crop: CropConfig, augment: AugmentConfig, size: int) -> Transform:
    """Return crop, mirror, policy and erasing: from (3, H, W) to (3, size, size), uint8; torch's numbers are drawn.

    What is erased gets the mean colour, rounded to whole numbers: torchvision's reference erases with 0 after the
    normalisation.
    """
    steps: list[Transform] = [
        v2.RandomResizedCrop(size, scale=tuple(crop.scale), antialias=True),
        v2.RandomHorizontalFlip(),
    ]
    if (chosen := policy(augment)) is not None:
        steps.append(chosen)
    if augment.erasing:
        steps.append(v2.RandomErasing(augment.erasing, value=[round(255 * mean) for mean in MEAN]))
    return _chain(steps)


def scoring_transform(crop: CropConfig) -> Transform:
    """Return the scaling of the shorter side and the central crop: from (3, H, W) to (3, S, S), uint8."""

    def apply(image: Tensor) -> Tensor:
        scaled = F.resize(image, [crop.eval_resize], antialias=True)
        central: Tensor = F.center_crop(scaled, [crop.eval_size, crop.eval_size])
        return central

    return apply


def _chain(steps: list[Transform]) -> Transform:
    def apply(image: Tensor) -> Tensor:
        for step in steps:
            image = step(image)
        return image

    return apply


def normalised(x_BCHW: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Turn uint8 into float32 with mean 0 and standard deviation 1, per channel, on the device."""
    scale, shift = 1 / (255 * std), -mean / std
    return torch.addcmul(shift[:, None, None], x_BCHW.to(torch.float32), scale[:, None, None])
