"""Scenes as files in the format of Pascal VOC."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError
from trials.detection.scene_jpeg import Progress, save_jpeg
from trials.scenes import Scene, SceneSet, draw_scene


@dataclass(frozen=True)
class _Year:
    """A folder `VOC<year>` and the sets in it, each with the numbers of its scenes."""

    year: int
    sets: dict[str, Sequence[int]]

    @property
    def name(self) -> str:
        return f"VOC{self.year}"

    def image_name(self, number: int) -> str:
        """Return what VOC would call an image: 2007 numbers them, later years put the year before."""
        return f"{number:06d}" if self.year == 2007 else f"{self.year}_{number:06d}"


def write_voc(scenes: SceneSet, folder: Path, progress: Progress | None = None) -> None:
    """Write `VOCdevkit/VOC2007` and `VOCdevkit/VOC2012` with boxes and classes of pixels.

    The first half of the images to train on is 2007's `trainval`, the second 2012's; the last fifth of each is its
    `val`. The test images are 2007's `test`.

    Raises:
        InputError: fewer than ten images.
    """
    if scenes.num_images < 10:
        raise InputError(f"VOC's format needs 10 images or more, for its sets, got {scenes.num_images}")
    half = len(scenes.train_numbers) // 2
    years = [
        _Year(2007, {**_train_and_val(scenes.train_numbers[:half]), "test": scenes.test_numbers}),
        _Year(2012, _train_and_val(scenes.train_numbers[half:])),
    ]
    total = len(scenes.train_numbers) + len(scenes.test_numbers)
    done = 0
    for year in years:
        home = folder / "VOCdevkit" / year.name
        for part in ("Annotations", "JPEGImages", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
            (home / part).mkdir(parents=True)
        # Names are numbers from 1 on: the test images' own begin at a billion.
        numbers = [*year.sets["trainval"], *year.sets.get("test", ())]
        names = {number: year.image_name(position) for position, number in enumerate(numbers, 1)}
        for number, name in names.items():
            _write_voc_image(draw_scene(scenes, number), scenes.classes, home, name)
            done += 1
            if progress:
                progress(done, total)
        for image_set, members in year.sets.items():
            lines = "".join(f"{names[number]}\n" for number in members)
            for kind in ("Main", "Segmentation"):
                (home / "ImageSets" / kind / f"{image_set}.txt").write_text(lines)


def _train_and_val(numbers: Sequence[int]) -> dict[str, Sequence[int]]:
    first_val = len(numbers) - len(numbers) // 5
    return {"trainval": numbers, "train": numbers[:first_val], "val": numbers[first_val:]}


def _write_voc_image(scene: Scene, classes: Sequence[str], home: Path, name: str) -> None:
    save_jpeg(scene, home / "JPEGImages" / f"{name}.jpg")
    _save_classes(scene.mask, home / "SegmentationClass" / f"{name}.png")
    root = ElementTree.Element("annotation")
    _add(root, folder=home.name, filename=f"{name}.jpg")
    height, width = scene.mask.shape
    _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=1)
    for box, label in zip(scene.boxes, scene.labels, strict=True):
        left, top, right, bottom = map(int, box)
        element = ElementTree.SubElement(root, "object")
        _add(element, name=classes[label], pose="Unspecified", truncated=0, difficult=0)
        # VOC counts pixels from 1, and includes the last.
        _add(ElementTree.SubElement(element, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(home / "Annotations" / f"{name}.xml", encoding="utf-8")


def _add(parent: ElementTree.Element, **texts: object) -> None:
    for key, text in texts.items():
        ElementTree.SubElement(parent, key).text = str(text)


def _save_classes(classes: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(classes)
    image.putpalette(_palette())  # which makes it one with a palette
    image.save(path)


def _palette() -> bytes:
    """Return VOC's colours: bit k of the channels, from the highest down, are bits 3k, 3k + 1, 3k + 2 of the class."""
    return bytes(
        sum((number >> 3 * place + channel & 1) << 7 - place for place in range(8))
        for number in range(256)
        for channel in range(3)
    )
