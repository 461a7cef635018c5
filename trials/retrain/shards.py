"""WebDataset shards: tar files that hold `<key>.jpg` and `<key>.cls`, read at random through an index of offsets.

A tar file's members lie in it as they are, so that an image is read with one call once its offset is known: shards are
so shuffled image by image, and a training goes on at the very batch, which a stream through them can do neither of. The
index is kept beside the shards.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError
from trials.dataset import Labels
from trials.retrain.image_files import SUFFIXES, ImageSet
from trials.whole_file import whole_file

_FORMAT = 1
_CLASSES = "classes.txt"


@dataclass(frozen=True, eq=False)
class ShardFiles:
    """Images in tar files."""

    shards: tuple[Path, ...]
    shard: NDArray[np.int64]
    """For each image the number of its tar file."""
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    labels: Labels
    _open: dict[tuple[int, int], int] = field(default_factory=dict)
    """Descriptors of the files that this process reads."""

    def read(self, number: int) -> bytes:
        """Return an encoded image. Raises InputError, with its shard."""
        shard = int(self.shard[number])
        try:
            key = (os.getpid(), shard)
            if key not in self._open:
                self._open[key] = os.open(self.shards[shard], os.O_RDONLY)
            return os.pread(self._open[key], int(self.size[number]), int(self.offset[number]))
        except OSError as error:
            raise InputError(f"{self.name(number)}: cannot be read: {error.strerror}") from None

    def name(self, number: int) -> str:
        """Return an image's shard and place in it."""
        return f"{self.shards[int(self.shard[number])]} at byte {int(self.offset[number])}"


def find_shards(folder: Path) -> ImageSet | None:
    """Return the images of `train/*.tar` and `val/*.tar`, or of `*train*.tar` and `*val*.tar`; None if there are none.

    Classes are the lines of `classes.txt`, in the order of the numbers in `.cls`; without it, the numbers
    are the names.

    Raises:
        InputError: a shard is damaged, has an image without a class, or only one split is there.
    """
    shards = {split: _shards(folder, split) for split in ("train", "val")}
    if not shards["train"]:
        return None
    if not shards["val"]:
        raise InputError(f"{folder}: has shards to train on ({shards['train'][0].name}), but none of val (*val*.tar)")
    train, val = (_indexed(folder, split, shards[split]) for split in ("train", "val"))
    num_classes = int(max(train.labels.max(), val.labels.max())) + 1
    classes = _classes(folder, num_classes)
    digest = hashlib.sha256(json.dumps(classes).encode())
    for files in (train, val):
        digest.update(json.dumps([path.name for path in files.shards]).encode())
        for column in (files.shard, files.offset, files.size, files.labels):
            digest.update(np.ascontiguousarray(column).data)
    return ImageSet(classes, train, val, digest.hexdigest())


def _shards(folder: Path, split: str) -> tuple[Path, ...]:
    inside = sorted((folder / split).glob("*.tar")) if (folder / split).is_dir() else []
    return tuple(inside or sorted(folder.glob(f"*{split}*.tar")))


def _classes(folder: Path, num_classes: int) -> tuple[str, ...]:
    file = folder / _CLASSES
    if not file.is_file():
        return tuple(map(str, range(num_classes)))
    names = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    if len(names) < num_classes:
        raise InputError(f"{file}: names {len(names)} classes, but the shards have {num_classes}")
    return names


def _indexed(folder: Path, split: str, shards: Sequence[Path]) -> ShardFiles:
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    digest = hashlib.sha256(json.dumps([_FORMAT, states]).encode()).hexdigest()[:16]
    file = folder / f".index-{split}-{digest}.npy"
    try:
        table = np.load(file)
    except (OSError, ValueError):
        table = np.array([row for number, path in enumerate(shards) for row in _scan(number, path)], dtype=np.int64)
        if not len(table):
            raise InputError(f"{shards[0]}: holds no pair of <key>.jpg and <key>.cls") from None
        _write(file, table)
    shard, offset, size, labels = np.ascontiguousarray(table.T)
    return ShardFiles(tuple(shards), shard, offset, size, labels)


def _write(file: Path, table: NDArray[np.int64]) -> None:
    """Keep an index beside the shards; where that is not allowed, it is made anew each time."""
    try:
        with whole_file(file) as unfinished, unfinished.open("wb") as opened:
            np.save(opened, table)
    except OSError:
        return


def _scan(number: int, path: Path) -> Iterable[tuple[int, int, int, int]]:
    """Yield shard, offset, size and label of each image of a tar file, in the order of the keys' first members."""
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                key, _, suffix = member.name.rpartition(".")
                if f".{suffix}".lower() in SUFFIXES:
                    images[key] = (member.offset_data, member.size)
                elif suffix == "cls" and (opened := archive.extractfile(member)) is not None:
                    labels[key] = int(opened.read())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a shard (a tar file of <key>.jpg and <key>.cls), or damaged: {error}") from None
    for key, (offset, size) in images.items():
        if key not in labels:
            raise InputError(f"{path}: {key} has no class ({key}.cls)")
        yield number, offset, size, labels[key]
