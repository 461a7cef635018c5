"""A data set in memory: images as uint8, labels, and what identifies them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_CHUNK = 1000
"""Images whose squares are held in memory at a time."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Square images with labels; the test images stand apart. Equal only to itself."""

    images: Images
    """Training and validation images (N, C, H, W)."""
    labels: Labels
    """Class numbers (N,)."""
    test_images: Images
    """Test images (M, C, H, W)."""
    test_labels: Labels
    """Class numbers (M,)."""
    classes: tuple[str, ...]
    """The names of the classes; a label is a position in it."""

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
        for array in (self.images, self.labels, self.test_images, self.test_labels):
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
