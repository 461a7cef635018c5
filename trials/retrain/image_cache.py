"""Decoded images in one file that is mapped into memory: what costs most of a loader's time is done once.

As FFCV (Leclerc et al., arXiv:2306.12517) does with raw images. An image keeps its aspect; its shorter side is brought
to a given length where it is longer. For ImageNet and 256 pixels the file is more than twice as large
as the JPEGs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from search_spaces import InputError
from trials.dataset import Labels
from trials.retrain.batching import Part
from trials.retrain.place import Place
from trials.retrain.reading import read_ahead
from trials.whole_file import whole_file

_AT_A_TIME = 32


class _Images(Protocol):
    @property
    def labels(self) -> Labels: ...

    def load(self, number: int) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class CachedImages:
    """Images in a file of raw pixels, (H, W, 3) one after the other."""

    path: Path
    sizes: NDArray[np.int64]
    """Heights and widths, (N, 2)."""
    labels: Labels

    def __post_init__(self) -> None:
        ends = np.cumsum(3 * self.sizes.prod(axis=1))
        object.__setattr__(self, "_starts", np.concatenate([[0], ends]))
        object.__setattr__(self, "_pixels", np.memmap(self.path, np.uint8, "r"))

    def load(self, number: int) -> Tensor:
        """Return an image, (3, H, W), uint8."""
        start, end = self._starts[number : number + 2]  # type: ignore[attr-defined]
        pixels = np.array(self._pixels[start:end])  # type: ignore[attr-defined]
        height, width = self.sizes[number].tolist()
        return torch.from_numpy(pixels).reshape(height, width, 3).permute(2, 0, 1)


@dataclass(frozen=True, eq=False)
class _Scaler:
    """Loads images with their shorter side brought to a length, in whatever process."""

    images: _Images
    side: int

    def __call__(self, part: Part) -> list[Tensor]:
        return [self._scaled(self.images.load(item)) for item in part.items.tolist()]

    def _scaled(self, image: Tensor) -> Tensor:
        if min(image.shape[1:]) > self.side:
            image = F.resize(image, [self.side], antialias=True)
        return image.permute(1, 2, 0).contiguous()


def cached(images: _Images, path: Path, side: int, place: Place, workers: int) -> CachedImages:
    """Return images from a cache, which the first process makes where there is none; the others wait.

    Args:
        images: what is cached.
        path: of the cache, without a suffix; names what the images are.
        side: length that the shorter side of each image is brought to, where it is longer.
        place: of this process.
        workers: processes that decode.

    Raises:
        InputError: an image is damaged, or the disk is full.
    """
    raw, index = path.with_suffix(".raw"), path.with_suffix(".sizes.npy")
    refused = ""
    if place.is_first and not index.exists():
        try:
            _make(images, raw, index, side, workers)
        except OSError as error:
            refused = f"{raw}: the cache cannot be written: {error.strerror}; leave `data: {{cache: ...}}` out"
        except InputError as error:
            refused = str(error)
    refused = place.gather_json(refused)[0]
    if refused:
        raise InputError(refused)
    return CachedImages(raw, np.load(index), images.labels)


def _make(images: _Images, raw: Path, index: Path, side: int, workers: int) -> None:
    sizes: list[tuple[int, int]] = []
    with whole_file(raw) as unfinished, unfinished.open("wb") as file:
        for image in _scaled_images(images, side, workers):
            sizes.append((image.shape[0], image.shape[1]))
            file.write(image.numpy().data)
    with whole_file(index) as unfinished, unfinished.open("wb") as file:
        np.save(file, np.array(sizes, dtype=np.int64))


def _scaled_images(images: _Images, side: int, workers: int) -> Iterator[Tensor]:
    items = np.arange(len(images.labels))
    parts = [
        Part(0, range(start, min(start + _AT_A_TIME, len(items))), items[start : start + _AT_A_TIME])
        for start in range(0, len(items), _AT_A_TIME)
    ]
    for scaled in read_ahead(_Scaler(images, side), parts, workers):
        yield from scaled
