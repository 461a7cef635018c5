"""Folders of images, `train/<class>/*` and `test/<class>/*`, decoded once and kept beside them.

The decoded arrays go into a hidden folder `.decoded-*` beside `train` and `test`: every worker process loads
the data set, and decoding 60,000 small PNG files takes some 15 seconds against half a second. The folder's
name holds a fingerprint of the files' names, sizes and times of change, so that a changed data set is decoded
again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search_spaces import InputError
from trials.dataset import Dataset, Images, Labels

if TYPE_CHECKING:
    from PIL.Image import Image

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_FORMAT = 1
"""Version of the decoded arrays; part of the fingerprint."""
_ARRAYS = ("images", "labels", "test_images", "test_labels")

Files = list[tuple[str, int]]
"""Files with the number of their class. Strings: 60,000 `Path`s take a second to make and to sort."""


def load_folder(folder: Path, size: int | None = None) -> Dataset:
    """Return the images of `folder/train` and `folder/test`.

    Classes are the names of the folders in `train`, sorted. Images are grey (one channel) if all are, else
    RGB; transparency is dropped. Files with other endings than those of images and hidden files are passed
    over.

    Args:
        folder: holds `train` and `test`.
        size: scale the shorter side to so many pixels and cut out the centre square; None takes images as
            they are.

    Raises:
        InputError: a folder is missing or empty, a file is damaged, or images differ in shape and `size` is
            None.
    """
    classes, train, test = _find_files(folder)
    keep = folder / f".decoded-{size or 'as-is'}-{_fingerprint(folder, classes, train + test, size)}"
    kept = _read_kept(keep, classes)
    if kept is not None:
        return kept
    images, test_images = _decode(train, test, size)
    dataset = Dataset(images, _labels(train), test_images, _labels(test), classes)
    _keep(dataset, keep)
    return dataset


def _find_files(folder: Path) -> tuple[tuple[str, ...], Files, Files]:
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise InputError(f"{folder / part}: no such folder; expected {part}/<class>/*.png in {folder}")
    classes = _subfolders(folder / "train")
    if len(classes) < 2:
        raise InputError(f"{folder / 'train'}: {len(classes)} folders of classes found, at least 2 are needed")
    strange = sorted(set(_subfolders(folder / "test")) - set(classes))
    if strange:
        raise InputError(f"{folder / 'test' / strange[0]}: there is no class of this name in {folder / 'train'}")
    train = _files_in(folder / "train", classes)
    missing = sorted(set(range(len(classes))) - {number for _, number in train})
    if missing:
        raise InputError(f"{folder / 'train' / classes[missing[0]]}: holds no image ({', '.join(_SUFFIXES)})")
    test = _files_in(folder / "test", classes)
    if not test:
        raise InputError(f"{folder / 'test'}: holds no image; expected test/<class>/*.png")
    return classes, train, test


def _subfolders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")))


def _files_in(folder: Path, classes: Sequence[str]) -> Files:
    found: Files = []
    for number, name in enumerate(classes):
        if (folder / name).is_dir():
            paths = (item.path for item in os.scandir(folder / name) if not item.name.startswith("."))
            found += [(path, number) for path in sorted(paths) if path.lower().endswith(_SUFFIXES)]
    return found


def _labels(files: Files) -> Labels:
    return np.array([number for _, number in files], dtype=np.int64)


def _fingerprint(folder: Path, classes: Sequence[str], files: Files, size: int | None) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, size, list(classes)]).encode())
    for path, _ in files:
        state, name = os.stat(path), os.fsencode(path.removeprefix(str(folder)))
        digest.update(b"\n%b\0%d\0%d" % (name, state.st_size, state.st_mtime_ns))
    return digest.hexdigest()[:16]


def _read_kept(keep: Path, classes: tuple[str, ...]) -> Dataset | None:
    """Return the kept arrays, mapped into memory so that processes share them, or None if there are none."""
    try:
        arrays = [np.load(keep / f"{name}.npy", mmap_mode="c") for name in _ARRAYS]
    except (OSError, ValueError):
        return None
    images, labels, test_images, test_labels = arrays
    return Dataset(images, labels, test_images, test_labels, classes)


def _keep(dataset: Dataset, keep: Path) -> None:
    """Write the arrays beside the images, whole or not at all; do nothing where that is not allowed."""
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=".decoding-", dir=keep.parent))
    except OSError:
        return
    try:
        for name in _ARRAYS:
            np.save(unfinished / f"{name}.npy", getattr(dataset, name))
        unfinished.chmod(0o755)
        _remove_old(keep)
        unfinished.rename(keep)
    except OSError:  # a full disk, or another process was faster
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove_old(keep: Path) -> None:
    """Remove the arrays that stand for an earlier state of the same images, and torn ones."""
    for old in keep.parent.glob(f"{keep.name.rpartition('-')[0]}-*"):
        shutil.rmtree(old, ignore_errors=True)


def _decode(train: Files, test: Files, size: int | None) -> tuple[Images, Images]:
    """Decode all files to arrays (N, C, H, W) that share C, H and W."""
    paths = [path for path, _ in train + test]
    pixels = [_read_image(path, size) for path in paths]
    first = pixels[0].shape[:2]
    for path, image in zip(paths, pixels, strict=True):
        if image.shape[:2] != first or first[0] != first[1]:
            (height, width), other = image.shape[:2], f"{paths[0]} is {first[0]}x{first[1]}"
            raise InputError(
                f"{path}: is {height}x{width} pixels ({other}); images must be squares of one size, or give "
                "`size` to resize them"
            )
    if any(image.ndim == 3 for image in pixels):
        pixels = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in pixels]
    else:
        pixels = [image[:, :, None] for image in pixels]
    return _stack(pixels[: len(train)]), _stack(pixels[len(train) :])


def _stack(pixels: Sequence[Images]) -> Images:
    return np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))


def _read_image(path: str, size: int | None) -> Images:
    """Decode one file to (H, W) if it is grey, else (H, W, 3)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            mode, converted = image.mode, image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    # What Pillow raised on 36,000 files damaged at random.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image, or damaged: {error}") from None
    if mode[0] in "IF":
        raise InputError(f"{path}: has more than 8 bits per channel ({mode}); convert it to 8 bits")
    return np.asarray(converted if size is None else _resize(converted, size))


def _resize(image: "Image", size: int) -> "Image":
    """Scale the shorter side to `size` and cut out the centre."""
    from PIL import Image

    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
