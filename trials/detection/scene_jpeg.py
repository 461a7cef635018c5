"""What both formats of scenes on disk share: the images."""

from collections.abc import Callable
from pathlib import Path

from trials.scenes import Scene

Progress = Callable[[int, int], None]
"""Told how many images are written, and of how many."""

_QUALITY = 95


def save_jpeg(scene: Scene, path: Path) -> None:
    """Write a scene's image, without subsampling of colours."""
    from PIL import Image

    Image.fromarray(scene.image.transpose(1, 2, 0)).save(path, quality=_QUALITY, subsampling=0)
