"""Images with the class of every pixel, as a network learns from them and as they are scored."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from search_spaces import InputError
from trials.detection.picture_files import read_image, read_labels
from trials.detection.voc_files import read_names
from trials.retrain.batching import Part, slot_rng
from trials.segmentation import IGNORED

_STREAM = 41
"""Keeps random numbers apart from others of the same seed."""

Crops = tuple[Tensor, Tensor]
"""Images (N, 3, S, S) and classes (N, S, S), uint8."""


@dataclass(frozen=True)
class PixelImages:
    """Which images, and where their classes are."""

    source: str
    """Where they are listed, for messages."""
    images: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, position: int, num_classes: int | None = None) -> Crops:
        """Return an image (3, H, W) and the classes of its pixels (H, W), both uint8.

        Raises:
            InputError: a file is missing or damaged, or a pixel has a class above `num_classes`.
        """
        image, labels = read_image(self.images[position]), read_labels(self.labels[position])
        if image.shape[1:] != labels.shape:
            raise InputError(
                f"{self.labels[position]}: is {_size(labels)} pixels, {self.images[position]} {_size(image)}"
            )
        if num_classes is not None and (most := largest_class(labels)) >= num_classes:
            raise InputError(
                f"{self.labels[position]}: a pixel has class {most}, and there are {num_classes} with the background; "
                "`data: {classes: ...}` in the recipe says how many"
            )
        return image, labels

    def digest(self) -> str:
        """Return what changes if images are added, removed or renamed, or files of classes change in size."""
        sizes = [Path(path).stat().st_size if Path(path).is_file() else -1 for path in self.labels]
        names = [Path(path).name for path in self.images]
        return hashlib.sha256(orjson.dumps([names, sizes])).hexdigest()


def read_pixel_images(root: Path, sets: Sequence[str]) -> PixelImages:
    """Return the images of one or more of VOC's sets for segmentation. Raises InputError."""
    images: list[str] = []
    labels: list[str] = []
    files: list[str] = []
    for name in sets:
        folder, file, names = read_names(root, name, "Segmentation")
        files.append(str(file))
        images += [str(folder / "JPEGImages" / f"{each}.jpg") for each in names]
        labels += [str(folder / "SegmentationClass" / f"{each}.png") for each in names]
    return PixelImages(", ".join(files), tuple(images), tuple(labels))


def count_classes(images: PixelImages) -> int:
    """Return one more than the largest class that a pixel has. Reads all files of classes; raises InputError."""
    return max(largest_class(read_labels(path)) for path in images.labels) + 1


def largest_class(labels: Tensor) -> int:
    """Return the largest class of a pixel, 0 if none counts."""
    return int(labels.where(labels != IGNORED, 0).max())


def _size(plane: Tensor) -> str:
    return f"{plane.shape[-2]}x{plane.shape[-1]}"


@dataclass(frozen=True)
class Cropping:
    """Reads training images: resized by a factor, cropped, mirrored; what is drawn depends on seed and slot alone."""

    images: PixelImages
    num_classes: int
    size: int
    """Height and width of a crop."""
    scale: tuple[float, float]
    """Least and greatest factor."""
    flip: float
    """Probability that an image is mirrored."""
    seed: int
    """Of the training."""

    def read(self, part: Part) -> Crops:
        """Return the crops of a micro-batch. Raises InputError naming a file that is missing or damaged."""
        crops = [
            self._crop(item, slot_rng(self.seed, _STREAM, part.epoch, slot))
            for slot, item in zip(part.slots, part.items.tolist(), strict=True)
        ]
        return torch.stack([image for image, _ in crops]), torch.stack([labels for _, labels in crops])

    def _crop(self, position: int, rng: np.random.Generator) -> Crops:
        image, labels = self.images.read(position, self.num_classes)
        factor = rng.uniform(*self.scale)
        height, width = (max(1, round(side * factor)) for side in labels.shape)
        top, left = (int(rng.integers(max(0, side - self.size) + 1)) for side in (height, width))
        flipped = rng.random() < self.flip
        pair = tv_tensors.Image(image), tv_tensors.Mask(labels)
        pair = tuple(v2.functional.resize(each, [height, width], antialias=True) for each in pair)
        missing = [0, 0, max(0, self.size - width), max(0, self.size - height)]
        image = v2.functional.pad(pair[0], missing, fill=0)
        labels = v2.functional.pad(pair[1], missing, fill=IGNORED)
        cut = [v2.functional.crop(each, top, left, self.size, self.size) for each in (image, labels)]
        if flipped:
            cut = [v2.functional.horizontal_flip(each) for each in cut]
        return cut[0].as_subclass(Tensor).contiguous(), cut[1].as_subclass(Tensor).contiguous()
