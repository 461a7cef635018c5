"""CIFAR-10 and CIFAR-100: torchvision's layout, folders of images, or a download.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import InputError
from trials.dataset import Dataset, Images, Labels
from trials.image_folders import load_folder

CIFAR_SIZES = (32, 16, 8)
"""Pixels: as published, or the means of 2x2 or 4x4 pixels, for trials that cost a part."""


def load_cifar(num_classes: int, folder: Path, size: int = CIFAR_SIZES[0]) -> Dataset:
    """Return CIFAR-10 or CIFAR-100 (`num_classes`) from `folder`.

    Taken is the first there is: torchvision's `cifar-10-batches-py` (`cifar-100-python`), images as
    `train/<class>/*` and `test/<class>/*` in `folder` or in its `cifar10` (`cifar100`), torchvision's
    download. Each image is averaged down to `size`, one of `CIFAR_SIZES`.

    Raises:
        InputError: the files are damaged, are not CIFAR, or are missing and cannot be downloaded.
    """
    dataset = _load(num_classes, folder)
    if size == dataset.size:
        return dataset
    images, test_images = (_averaged(each, size) for each in (dataset.images, dataset.test_images))
    return replace(dataset, images=images, test_images=test_images)


def _averaged(images: Images, size: int) -> Images:
    """Return images (N, C, H, W) with each square of pixels replaced by its mean, rounded to even at the half."""
    num, channels, height, _ = images.shape
    side = height // size
    squares = images.reshape(num, channels, size, side, size, side)
    return np.asarray(np.rint(squares.mean(axis=(3, 5), dtype=np.float32)), dtype=np.uint8)


def _load(num_classes: int, folder: Path) -> Dataset:
    from torchvision import datasets

    source = {10: datasets.CIFAR10, 100: datasets.CIFAR100}[num_classes]
    if (folder / source.base_folder).exists():
        return _load_batches(source, folder)
    for place in (folder, folder / f"cifar{num_classes}"):
        if (place / "train").is_dir():
            return _load_images(num_classes, place)
    _download(source, num_classes, folder)
    return _load_batches(source, folder)


def _load_images(num_classes: int, folder: Path) -> Dataset:
    dataset = load_folder(folder)
    found = (len(dataset.classes), dataset.channels, dataset.size)
    if found != (num_classes, 3, 32):
        raise InputError(
            f"{folder}: not CIFAR-{num_classes}: found {found[0]} classes of {found[2]}x{found[2]} images "
            f"with {found[1]} channels, expected {num_classes}, 32x32 and 3; "
            "for other images give `source: folder`"
        )
    return dataset


def _load_batches(source: Any, folder: Path) -> Dataset:
    try:
        train, test = source(folder, train=True), source(folder, train=False)
    except RuntimeError:  # by torchvision, after comparing MD5 sums
        raise InputError(
            f"{folder / source.base_folder}: a file is missing or damaged (its MD5 sum is not the published "
            "one); delete this folder to have it downloaded again"
        ) from None
    return Dataset(*_arrays(train), *_arrays(test), tuple(train.classes))


def _arrays(part: Any) -> tuple[Images, Labels]:
    return np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.array(part.targets, dtype=np.int64)


def _download(source: Any, num_classes: int, folder: Path) -> None:
    is_new = not folder.exists()
    try:
        source(folder, train=True, download=True)
    except (OSError, RuntimeError) as error:  # no network (URLError is an OSError), or a broken archive
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise InputError(
            f"CIFAR-{num_classes} is not in {folder} (looked for {source.base_folder}, train/<class>/*.png "
            f"and cifar{num_classes}/train/<class>/*.png) and could not be downloaded: {error}\n"
            "Three ways to get it:\n"
            "  - run this again where there is internet access: it is downloaded\n"
            f"  - download {source.url} elsewhere and unpack it in {folder}\n"
            "  - point `data.dir` (--data-dir) at a folder with train/<class>/*.png and test/<class>/*.png"
        ) from None
