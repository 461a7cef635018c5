"""Scenes: shapes of widely different sizes on textured ground, made here from a seed.

Image i of seed s is drawn from (s, i) alone: it is the same in whatever order, process or number the images are made.
Shape, size, colour and texture of an object are independent, so that neither colour nor texture tells the class.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from trials.dataset import Dataset, Images, Labels
from trials.scene_shapes import SHAPES, Mask
from trials.scene_textures import Textures

BACKGROUND = "background"
"""The name of class 0."""
SIZES = ("small", "medium", "large")
"""Of objects, by the longer side of their visible boxes: thirds, in the logarithm, of the range of extents."""

_FIRST_TEST = 10**9
"""Number of the first test image."""
_SMALLEST_PIXELS = 6.0
_LARGEST_SHARE = 0.8
"""Extents lie between these, the largest as a share of the image, evenly in the logarithm."""
_FEWEST, _MOST = 3, 8
"""Objects that are tried in an image; where there is no room some are left out, never all."""
_ATTEMPTS = 6
"""Places that are tried for an object."""
_FEWEST_PIXELS = 8
"""Visible pixels that every object keeps; besides, at least half of what it would have alone."""


@dataclass(frozen=True)
class SceneSet:
    """Which scenes; the images follow from it."""

    num_images: int = 2000
    """To train and validate on; a quarter as many (rounded up) are for testing."""
    size: int = 64
    """Height and width in pixels, at least 16."""
    num_shapes: int = 5
    """The first so many of `SHAPES`, at least 1."""
    seed: int = 0
    """Not negative."""

    @property
    def train_numbers(self) -> range:
        """Numbers of the images to train and validate on."""
        return range(self.num_images)

    @property
    def test_numbers(self) -> range:
        """Numbers of the test images; the others never reach them."""
        return range(_FIRST_TEST, _FIRST_TEST + math.ceil(self.num_images / 4))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes: the background and the shapes."""
        return (BACKGROUND, *list(SHAPES)[: self.num_shapes])


@dataclass(frozen=True, eq=False)
class Scene:
    """One image with all that is known of it; objects are in the order in which they were put there."""

    image: Images
    """(3, H, W)."""
    mask: Images
    """Class of each pixel (H, W), 0 for the background."""
    boxes: NDArray[np.float32]
    """Smallest boxes around what is visible (n, 4): left, top, right, bottom in pixels, right and bottom exclusive."""
    labels: Labels
    """Class of each object (n,), from 1."""
    masks: Mask
    """Visible pixels of each object (n, H, W); no two overlap."""

    def scales(self) -> Images:
        """Return for each pixel (H, W) the size of the object it counts with, as a position in `SIZES`.

        That is its own object; for the background the nearest one (of several, scipy's choice).
        """
        sides = np.maximum(self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1])
        sizes = np.digitize(sides, size_bounds(self.mask.shape[0]))
        rows, columns = distance_transform_edt(~self.masks.any(axis=0), return_distances=False, return_indices=True)
        nearest = self.masks.argmax(axis=0)[rows, columns]
        scales: Images = sizes[nearest].astype(np.uint8)
        return scales


def size_bounds(size: int) -> tuple[float, float]:
    """Return from which sides on, in pixels, objects are medium and large in images of `size` pixels."""
    largest = _LARGEST_SHARE * size
    return (_SMALLEST_PIXELS**2 * largest) ** (1 / 3), (_SMALLEST_PIXELS * largest**2) ** (1 / 3)


def draw_scene(scenes: SceneSet, index: int) -> Scene:
    """Return image number `index`."""
    rng = np.random.default_rng(np.random.SeedSequence((scenes.seed, index)))
    canvas = _Canvas(scenes.size, rng)
    extents = np.exp(
        rng.uniform(
            math.log(_SMALLEST_PIXELS),
            math.log(_LARGEST_SHARE * scenes.size),
            rng.integers(_FEWEST, _MOST, endpoint=True),
        )
    )
    for extent in np.sort(extents)[::-1]:  # small objects come last, on top
        for _ in range(_ATTEMPTS):
            if canvas.place(float(extent), scenes.num_shapes):
                break
    while not canvas.labels:
        canvas.place(scenes.size / 2, scenes.num_shapes)
    return canvas.finish()


class _Canvas:
    """An image while it is painted."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._textures = Textures(size, rng)
        self._image = self._textures.draw(0, 0, size, size)
        self._owner = np.zeros((size, size), dtype=np.int64)
        """Number of the object that is seen at each pixel, from 1; 0 for the ground."""
        self._visible, self._needed = [size * size], [0]
        self.labels: list[int] = []

    def place(self, extent: float, num_shapes: int) -> bool:
        """Put a random shape of this extent at a random place, if enough remains visible of it and of all others."""
        label = int(self._rng.integers(num_shapes)) + 1
        y, x = self._rng.uniform(extent / 4, self._size - extent / 4, 2)
        angle = self._rng.uniform(0, 2 * math.pi)
        top, left = math.floor(y - extent / 2), math.floor(x - extent / 2)
        side = math.ceil(extent) + 1
        v = np.arange(top, top + side)[:, None] + 0.5 - y
        u = np.arange(left, left + side)[None, :] + 0.5 - x
        cos, sin = 2 * math.cos(angle) / extent, 2 * math.sin(angle) / extent
        whole = list(SHAPES.values())[label - 1](u * cos + v * sin, v * cos - u * sin)
        rows = slice(max(0, top), min(self._size, top + side))
        columns = slice(max(0, left), min(self._size, left + side))
        inside = whole[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        hidden = np.bincount(self._owner[rows, columns][inside], minlength=len(self._visible))
        pixels, needed = int(inside.sum()), max(_FEWEST_PIXELS, math.ceil(whole.sum() / 2))
        remaining = [seen - int(lost) for seen, lost in zip(self._visible, hidden, strict=True)]
        if pixels < needed or any(have < need for have, need in zip(remaining, self._needed, strict=True)):
            return False
        self.labels.append(label)
        self._visible, self._needed = [*remaining, pixels], [*self._needed, needed]
        self._owner[rows, columns][inside] = len(self.labels)
        texture = self._textures.draw(rows.start, columns.start, *inside.shape)
        self._image[:, rows, columns] = np.where(inside, texture, self._image[:, rows, columns])
        return True

    def finish(self) -> Scene:
        """Return the scene."""
        masks = self._owner == np.arange(1, len(self.labels) + 1)[:, None, None]
        labels = np.array(self.labels, dtype=np.int64)
        mask = np.array([0, *self.labels], dtype=np.uint8)[self._owner]
        return Scene(self._textures.finish(self._image), mask, _boxes(masks), labels, masks)


def _boxes(masks: Mask) -> NDArray[np.float32]:
    """Return the smallest boxes (n, 4) around masks (n, H, W), none of them empty."""
    sides = []
    for axis in (1, 2):  # what is left are the columns, then the rows
        line: Mask = np.asarray(masks.any(axis=axis))
        sides.append((line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)))
    (left, right), (top, bottom) = sides
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32)


def load_scenes(scenes: SceneSet) -> Dataset:
    """Return the scenes as images with a class for each pixel."""
    train, test = _draw_all(scenes, scenes.train_numbers), _draw_all(scenes, scenes.test_numbers)
    return Dataset(*train[:2], *test[:2], scenes.classes, train[2], test[2])


def _draw_all(scenes: SceneSet, numbers: range) -> tuple[Images, Images, Images]:
    """Return images (N, 3, H, W), masks (N, H, W) and scales (N, H, W)."""
    size = scenes.size
    images = np.empty((len(numbers), 3, size, size), dtype=np.uint8)
    masks, scales = np.empty((2, len(numbers), size, size), dtype=np.uint8)
    for position, number in enumerate(numbers):
        scene = draw_scene(scenes, number)
        images[position], masks[position], scales[position] = scene.image, scene.mask, scene.scales()
    return images, masks, scales
