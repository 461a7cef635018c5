"""Images on disk with the objects in them, whatever format they were written in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from search_spaces import InputError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Objects:
    """What is annotated in one image, in the order of the file."""

    boxes: Floats
    """(n, 4): left, top, right, bottom in pixels; right and bottom exclusive."""
    labels: Ints
    """(n,): class of each, from 1."""
    set_aside: Flags
    """(n,): neither right nor wrong to detect: COCO's crowds, VOC's difficult objects."""
    outlines: list[Any]
    """Segmentation of each as COCO writes it; empty if none was read."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class AnnotatedImages:
    """A set of images. Objects lie in flat arrays, so that reading processes share them instead of copying."""

    source: str
    """The file or files that the annotations are from, for messages."""
    paths: tuple[str, ...]
    ids: Ints
    """(N,): the numbers that the file gives the images; where it gives none, their positions."""
    sizes: Ints
    """(N, 2): height and width as the file states them."""
    classes: tuple[str, ...]
    """Names of classes 1, 2, ...; the background is class 0 and has none here."""
    category_ids: tuple[int, ...]
    """The number that the file gives each class; where it gives none, the class itself."""
    first: Ints
    """(N + 1,): where each image's objects begin in the arrays that follow, which are as in `Objects`."""
    boxes: Floats
    labels: Ints
    set_aside: Flags
    outlines: tuple[bytes, ...]
    """Of each image the list of its objects' segmentations as JSON; empty if none was asked for."""

    def __len__(self) -> int:
        return len(self.paths)

    def objects(self, position: int) -> Objects:
        """Return the objects of an image."""
        span = slice(int(self.first[position]), int(self.first[position + 1]))
        outlines = orjson.loads(self.outlines[position]) if self.outlines else []
        return Objects(self.boxes[span], self.labels[span], self.set_aside[span], outlines)

    def digest(self) -> str:
        """Return what changes if an annotation does: names, sizes, classes and objects, not the pixels."""
        digest = hashlib.sha256(orjson.dumps([list(map(_end_of, self.paths)), self.classes, self.category_ids]))
        for array in (self.ids, self.sizes, self.first, self.boxes, self.labels, self.set_aside):
            digest.update(np.ascontiguousarray(array).tobytes())
        for outline in self.outlines:
            digest.update(outline)
        return digest.hexdigest()


def _end_of(path: str) -> str:
    """Return an image's path without where the data happen to lie."""
    return "/".join(Path(path).parts[-2:])


@dataclass
class Collector:
    """Takes images one by one and makes `AnnotatedImages` of them."""

    source: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    with_outlines: bool = False
    _paths: list[str] = field(default_factory=list)
    _ids: list[int] = field(default_factory=list)
    _sizes: list[tuple[int, int]] = field(default_factory=list)
    _objects: list[Objects] = field(default_factory=list)
    _outlines: list[bytes] = field(default_factory=list)

    def add(self, path: str, image_id: int, size: Sequence[int] | Ints, objects: Objects) -> None:
        """Take an image, its height and width, and its objects."""
        self._paths.append(path)
        self._ids.append(image_id)
        self._sizes.append((int(size[0]), int(size[1])))
        if self.with_outlines:
            self._outlines.append(orjson.dumps(objects.outlines))
            objects = Objects(objects.boxes, objects.labels, objects.set_aside, [])
        self._objects.append(objects)

    def finish(self) -> AnnotatedImages:
        """Return the images. Raises InputError if there are none."""
        if not self._paths:
            raise InputError(f"{self.source}: names no image")
        counts = [0, *map(len, self._objects)]
        return AnnotatedImages(
            self.source,
            tuple(self._paths),
            np.array(self._ids, dtype=np.int64),
            np.array(self._sizes, dtype=np.int64).reshape(-1, 2),
            self.classes,
            self.category_ids,
            np.cumsum(counts, dtype=np.int64),
            np.concatenate([each.boxes for each in self._objects]),
            np.concatenate([each.labels for each in self._objects]),
            np.concatenate([each.set_aside for each in self._objects]),
            tuple(self._outlines),
        )


def make_objects(
    boxes: Sequence[Sequence[float]], labels: Sequence[int], set_aside: Sequence[bool], outlines: Sequence[Any] = ()
) -> Objects:
    """Return objects from lists."""
    return Objects(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.array(set_aside, dtype=np.bool_),
        list(outlines),
    )
