"""Draw images in ImageNet's format: JPEGs of real sizes in `train/<wnid>` and `val/<wnid>`, with classes to be learnt.

    python benchmarks/make_imagenet.py FOLDER --classes 10 --train 200 --val 50

A class is a pair of colours and a pattern (stripes of a direction and a width, or rings); where it stands in the image,
how large it is and how bright differ from image to image, and noise and other shapes lie over it, so that a network has
something to learn and the files are as large as photographs (100 KB). Sizes are those that are frequent in ImageNet,
500 x 375 before all. Everything is drawn from the seed: the same call writes the same pixels.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = ((375, 500), (375, 500), (375, 500), (333, 500), (500, 375), (500, 333), (240, 320), (600, 800))
"""Heights and widths; one is drawn for each image."""
QUALITY = 90


def make_imagenet(
    folder: Path,
    *,
    classes: int = 10,
    train: int = 200,
    val: int = 50,
    seed: int = 0,
    sizes: tuple[tuple[int, int], ...] = SIZES,
) -> None:
    """Write `train` and `val` images of each class to `folder`.

    Args:
        folder: made if it does not exist.
        classes: their number; folders are named `n00000000` and so on.
        train: training images of each class.
        val: validation images of each class.
        seed: not negative.
        sizes: heights and widths to draw from.
    """
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            place = folder / split / wnid(label)
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                rng = np.random.default_rng((seed, split == "val", label, number))
                (place / f"{wnid(label)}_{number}.JPEG").write_bytes(draw_jpeg(label, rng, sizes))


def wnid(label: int) -> str:
    """Return the name of a class's folder."""
    return f"n{label:08d}"


def draw_jpeg(label: int, rng: np.random.Generator, sizes: tuple[tuple[int, int], ...] = SIZES) -> bytes:
    """Return an encoded image of a class."""
    buffer = io.BytesIO()
    Image.fromarray(draw(label, rng, sizes[rng.integers(len(sizes))])).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def draw(label: int, rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image of a class, (H, W, 3)."""
    height, width = size
    y_HW, x_HW = np.mgrid[0:height, 0:width].astype(np.float32)
    kind = np.random.default_rng(1000 + label)  # what the class looks like, whatever the seed of the images
    dark, light = kind.uniform(30, 225, size=(2, 3)).astype(np.float32)
    period = kind.uniform(20, 60) * rng.uniform(0.8, 1.25)
    if label % 3 == 2:
        middle = rng.uniform(0.25, 0.75, size=2) * size
        phase = np.hypot(y_HW - middle[0], x_HW - middle[1])
    else:
        angle = kind.uniform(0, np.pi) + rng.normal(0, 0.1)
        phase = np.cos(angle) * x_HW + np.sin(angle) * y_HW + rng.uniform(0, period)
    share = 0.5 + 0.5 * np.sin(2 * np.pi * phase / period)
    pixels = dark + (light - dark) * share[:, :, None]
    for _ in range(6):  # what does not belong to the class
        top, left = rng.integers(0, height), rng.integers(0, width)
        side = rng.integers(20, 120)
        pixels[top : top + side, left : left + side] = rng.uniform(0, 255, 3)
    pixels = pixels * rng.uniform(0.7, 1.2) + rng.normal(0, 12, pixels.shape).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in (("classes", 10), ("train", 200), ("val", 50), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    make_imagenet(given.folder, classes=given.classes, train=given.train, val=given.val, seed=given.seed)


if __name__ == "__main__":
    main()
