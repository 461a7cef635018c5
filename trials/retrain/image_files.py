"""Images as files in folders of classes, `train/<class>/*` and `val/<class>/*`, as ImageNet lies on disk."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError
from trials.dataset import Labels

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")


class ImageFiles(Protocol):
    """The encoded images of a split."""

    @property
    def labels(self) -> Labels: ...

    def read(self, number: int) -> bytes:
        """Return an encoded image. Raises InputError, with its name."""
        ...

    def name(self, number: int) -> str:
        """Return what an image is called where it is wrong."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The two splits of a data set."""

    classes: tuple[str, ...]
    train: ImageFiles
    val: ImageFiles
    sha256: str
    """Of names of classes and images, or of shards and what is in them; not of all bytes, which takes long to read."""


@dataclass(frozen=True, eq=False)
class FolderFiles:
    """Files in folders of classes."""

    folder: Path
    names: NDArray[np.bytes_]
    """Relative to the folder; as one array, since a million strings are copied into every process that touches them."""
    labels: Labels

    def read(self, number: int) -> bytes:
        """Return an encoded image. Raises InputError, with its name."""
        try:
            return Path(self.name(number)).read_bytes()
        except OSError as error:
            raise InputError(f"{self.name(number)}: cannot be read: {error.strerror}") from None

    def name(self, number: int) -> str:
        """Return an image's path."""
        return os.path.join(self.folder, os.fsdecode(bytes(self.names[number])))


def find_folders(folder: Path) -> ImageSet | None:
    """Return the images of `folder/train` and `folder/val`; None if there are no folders of classes.

    Classes are the names of the folders in `train`, sorted.

    Raises:
        InputError: only one split is there, a class is empty or in `val` alone.
    """
    classes = _subfolders(folder / "train")
    if not classes:
        return None
    if not (folder / "val").is_dir():
        raise InputError(f"{folder / 'val'}: no such folder; expected val/<class>/*.JPEG beside train/<class>/*.JPEG")
    strange = sorted(set(_subfolders(folder / "val")) - set(classes))
    if strange:
        raise InputError(f"{folder / 'val' / strange[0]}: there is no class of this name in {folder / 'train'}")
    train, val = (_files_of(folder / split, classes) for split in ("train", "val"))
    missing = np.flatnonzero(np.bincount(train.labels, minlength=len(classes)) == 0)
    if len(missing):
        raise InputError(f"{folder / 'train' / classes[missing[0]]}: holds no image ({', '.join(SUFFIXES)})")
    if not len(val.labels):
        raise InputError(f"{folder / 'val'}: holds no image; expected val/<class>/*.JPEG")
    digest = hashlib.sha256(json.dumps(classes).encode())
    for files in (train, val):
        digest.update(b"\n".join([b"", *files.names.tolist()]))
    return ImageSet(classes, train, val, digest.hexdigest())


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as items:
        return tuple(sorted(item.name for item in items if item.is_dir() and not item.name.startswith(".")))


def _files_of(folder: Path, classes: Sequence[str]) -> FolderFiles:
    names: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue
        with os.scandir(folder / name) as items:
            found = sorted(item.name for item in items if item.name.lower().endswith(SUFFIXES) and item.name[0] != ".")
        names += [os.fsencode(f"{name}/{file}") for file in found]
        labels += [label] * len(found)
    return FolderFiles(folder, np.array(names, dtype=np.bytes_), np.array(labels, dtype=np.int64))
