"""Images as a detector learns from them: decoded, mirrored or not, with boxes and masks that follow."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from search_spaces import InputError
from trials.detection.annotated_images import AnnotatedImages
from trials.detection.picture_files import read_image
from trials.detection.run_lengths import masks_of
from trials.retrain.batching import Part, slot_rng

Target = dict[str, Tensor]
Examples = tuple[list[Tensor], list[Target], int]
"""Images (3, H, W), uint8, their targets, and the seed of what the detector draws for them."""

_FLIP, _DETECTOR = 31, 32
"""Keep random numbers apart."""


def learnable(images: AnnotatedImages) -> list[int]:
    """Return the positions of the images with an object of more than one pixel each way, crowds included.

    So torchvision's reference script chooses what to train on (references/detection/coco_utils.py).
    """
    sides = images.boxes[:, 2:] - images.boxes[:, :2]
    before = np.concatenate([[0], np.cumsum(np.all(sides > 1, axis=1))])
    positions: list[int] = np.flatnonzero(before[images.first[1:]] > before[images.first[:-1]]).tolist()
    return positions


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Reads images of a set to train on; what is drawn depends on the seed and the slot alone."""

    images: AnnotatedImages
    positions: list[int]
    """Of the images to train on; items are places in this list."""
    with_set_aside: bool
    """Learn from objects that are set aside too: VOC's difficult ones, but not COCO's crowds."""
    flip: float
    """Probability that an image is mirrored."""
    seed: int
    """Of the training."""

    def read(self, part: Part) -> Examples:
        """Return the images of a micro-batch. Raises InputError naming a file that is missing or damaged."""
        shown = []
        for slot, item in zip(part.slots, part.items.tolist(), strict=True):
            flipped = slot_rng(self.seed, _FLIP, part.epoch, slot).random() < self.flip
            shown.append(self._read_one(self.positions[item], flipped))
        drawn = slot_rng(self.seed, _DETECTOR, part.epoch, part.slots.start).integers(2**62)
        return [image for image, _ in shown], [target for _, target in shown], int(drawn)

    def _read_one(self, position: int, flipped: bool) -> tuple[Tensor, Target]:
        image = read_matching(self.images, position)
        target = self._target(position, (image.shape[-2], image.shape[-1]))
        if flipped:
            image = v2.functional.horizontal_flip(image)
            target = {
                name: v2.functional.horizontal_flip(value) for name, value in target.items() if name != "labels"
            } | {"labels": target["labels"]}
        return image, {name: value.as_subclass(Tensor) for name, value in target.items()}

    def _target(self, position: int, size: tuple[int, int]) -> Target:
        """Return boxes within the image and not empty, their classes, and masks if the set has them."""
        found = self.images.objects(position)
        height, width = size
        boxes = torch.from_numpy(found.boxes).clone()
        boxes[:, 0::2].clamp_(0, width)
        boxes[:, 1::2].clamp_(0, height)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if not self.with_set_aside:
            kept &= ~torch.from_numpy(found.set_aside)
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes[kept], format="XYXY", canvas_size=size),
            "labels": torch.from_numpy(found.labels)[kept],
        }
        if found.outlines:
            outlines = [found.outlines[number] for number in kept.nonzero()[:, 0].tolist()]
            target["masks"] = tv_tensors.Mask(masks_of(outlines, height, width))
        return target


def read_matching(images: AnnotatedImages, position: int) -> Tensor:
    """Return an image (3, H, W), uint8. Raises InputError if it cannot be read, or has another size than stated."""
    path, stated = images.paths[position], images.sizes[position].tolist()
    image = read_image(path)
    if list(image.shape[1:]) != stated:
        raise InputError(
            f"{path}: is {image.shape[1]}x{image.shape[2]} pixels, {images.source} says {stated[0]}x{stated[1]}; boxes "
            "would be in the wrong places"
        )
    return image
