"""A data set in memory: images as uint8, labels of images or of pixels, and what identifies them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Targets = NDArray[np.int64] | NDArray[np.uint8]
Task = Literal["classify", "segment"]
"""What is to be told of an image, as a host's `head` names it: its class, or the class of each pixel."""

_CHUNK = 1000
"""Images whose squares are held in memory at a time."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Square images with labels; the test images stand apart. Equal only to itself."""

    images: Images
    """Training and validation images (N, C, H, W)."""
    labels: Targets
    """Class numbers of the images (N,), int64, or of their pixels (N, H, W), uint8."""
    test_images: Images
    """Test images (M, C, H, W)."""
    test_labels: Targets
    """Class numbers (M,) or (M, H, W)."""
    classes: tuple[str, ...]
    """The names of the classes; a label is a position in it."""
    scales: Images | None = None
    """For each pixel (N, H, W) the size of the object it counts with, where the data set has that: 0, 1 or 2."""
    test_scales: Images | None = None
    """The same of the test images (M, H, W)."""

    @property
    def task(self) -> Task:
        """Whether images or pixels have labels."""
        return "classify" if self.labels.ndim == 1 else "segment"

    @property
    def strata(self) -> Labels:
        """A number for each image (N,): a split takes the same share of each. Its label; 0 where pixels have them."""
        if self.labels.ndim == 1:
            return self.labels.astype(np.int64, copy=False)
        return np.zeros(len(self.labels), dtype=np.int64)

    @property
    def channels(self) -> int:
        """Channels of the images: 3 for colour, 1 for grey."""
        return int(self.images.shape[1])

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.images.shape[-1])

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the names of the classes, all images and all labels, in their order."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        arrays: list[NDArray[Any]] = [self.images, self.labels, self.test_images, self.test_labels]
        for array in arrays + [each for each in (self.scales, self.test_scales) if each is not None]:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over `images`, in [0, 1].

        Of all images but the test images, whatever the split, so that they are constants of the data set. The
        standard deviation of a channel without contrast is given as 1/255.
        """
        sums, squares = np.zeros((2, self.channels), dtype=np.uint64)
        for start in range(0, len(self.images), _CHUNK):  # whole numbers are exact in any order
            chunk = self.images[start : start + _CHUNK]
            sums += chunk.sum(axis=(0, 2, 3), dtype=np.uint64)
            squares += np.square(chunk, dtype=np.uint32).sum(axis=(0, 2, 3), dtype=np.uint64)
        count = self.images.size // self.channels
        mean = sums / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 1))
        return tuple((mean / 255).tolist()), tuple((std / 255).tolist())
