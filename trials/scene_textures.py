"""Textures of the scenes: value noise at several scales, between two colours.

Everything here is a whole number or a fraction of a power of two that float64 holds exactly, so that the sums do not
depend on their order, and an image is the same whatever the processor or the linear algebra library.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from trials.dataset import Images

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEVELS = 256
"""Noise takes the values 0 to 256, as 256ths."""
_WEIGHTS = 64
"""Interpolation weights are multiples of a 64th."""
_GRAIN = 10
"""The largest change of a colour by what no texture explains."""
_DARKEST, _BRIGHTEST = 32, 223
_CONTRAST = 64
"""The largest difference of a texture's two colours, per channel."""


class Textures:
    """The textures of one image, drawn from its generator."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._octaves = _noise(size, rng)
        self._ground: Ints | None = None

    def draw(self, top: int, left: int, height: int, width: int) -> Floats:
        """Return the texture (3, height, width) of a region; the first is that of the ground.

        The colours of later ones are the farther from the ground's of two draws: most objects, not all, stand out.
        """
        first = self._colour()
        second = np.clip(first + self._rng.integers(-_CONTRAST, _CONTRAST + 1, 3), 0, 255)
        octaves = self._octaves[self._rng.integers(len(self._octaves), size=3)]
        # A piece of the noise that is not the one under the region.
        down = int(self._rng.integers(self._size - height + 1)) - top
        right = int(self._rng.integers(self._size - width + 1)) - left
        part = octaves[:, top + down : top + down + height, left + right : left + right + width]
        mix = np.clip((2 * part[0] + part[1] + part[2]) / (2 * _LEVELS) - 0.5, 0.0, 1.0)  # twice the noise's contrast
        texture: Floats = first[:, None, None] + (second - first)[:, None, None] * mix
        return texture

    def _colour(self) -> Ints:
        colours = self._rng.integers(_DARKEST, _BRIGHTEST + 1, (2, 3))
        chosen: Ints = colours[0]
        if self._ground is None:
            self._ground = chosen
        else:
            chosen = colours[np.abs(colours - self._ground).sum(axis=1).argmax()]
        return chosen

    def finish(self, image: Floats) -> Images:
        """Return the image (3, H, W) with grain, as bytes."""
        grain = self._rng.integers(-_GRAIN, _GRAIN + 1, image.shape)
        return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def _noise(size: int, rng: np.random.Generator) -> Floats:
    """Return noise from 0 to 256 at each scale (scales, size, size), the coarsest first."""
    planes = [rng.integers(0, _LEVELS + 1, (len(weights[0]),) * 2) for weights in _interpolations(size)]
    return np.stack([w @ plane @ w.T for w, plane in zip(_interpolations(size), planes, strict=True)])


@cache
def _interpolations(size: int) -> tuple[Floats, ...]:
    """Return the matrices (size, points) that interpolate from grids with 2, 4, ... cells to `size` pixels."""
    matrices = []
    cells = 2
    while cells <= size // 2:
        at = np.rint((np.arange(size) + 0.5) * (cells * _WEIGHTS / size)) / _WEIGHTS
        matrices.append(np.maximum(0.0, 1 - np.abs(at[:, None] - np.arange(cells + 1))))
        cells *= 2
    return tuple(matrices)
