"""Pascal VOC's folders: `VOCdevkit/VOC<year>` with XML annotations, as torchvision's `VOCDetection` takes them.

Everingham et al., 2010, The Pascal Visual Object Classes (VOC) Challenge, IJCV 88(2).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from search_spaces import InputError
from trials.detection.annotated_images import AnnotatedImages, Collector, make_objects

_LAYOUT = "VOCdevkit/VOC<year>/{Annotations,ImageSets,JPEGImages,SegmentationClass}"


def year_folder(root: Path, name: str) -> tuple[Path, str]:
    """Return the folder of a year and the name of the set, of `2007/trainval`. Raises InputError."""
    year, _, image_set = name.partition("/")
    if not year or not image_set:
        raise InputError(f"the set {name!r} is not of the form <year>/<set>, such as 2007/trainval")
    folder = root / "VOCdevkit" / f"VOC{year}"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected {_LAYOUT} in {root}")
    return folder, image_set


def read_names(root: Path, name: str, kind: str) -> tuple[Path, Path, list[str]]:
    """Return the folder of a set's year, the file that lists the set, and the names of its images.

    Args:
        root: holds `VOCdevkit`.
        name: of the set, such as `2012/trainval`.
        kind: `Main` for detection, `Segmentation`.

    Raises:
        InputError: there is no such file, or it is empty.
    """
    folder, image_set = year_folder(root, name)
    path = folder / "ImageSets" / kind / f"{image_set}.txt"
    try:
        names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.txt") if "_" not in each.stem))
        raise InputError(f"{path}: cannot be read: {error}; sets there: {there or 'none'}") from None
    if not names:
        raise InputError(f"{path}: names no image")
    return folder, path, names


def read_voc(root: Path, sets: Sequence[str], classes: Sequence[str] | None = None) -> AnnotatedImages:
    """Return the images of one or more sets, one after the other, with their objects.

    Boxes are VOC's less one pixel at the left and the top: VOC counts pixels from 1 and includes the last.

    Args:
        root: holds `VOCdevkit`.
        sets: such as `2007/trainval`.
        classes: names of the classes; if None, those that occur, in alphabetical order, which of VOC are its own 20 in
            their own order.

    Raises:
        InputError: a folder or a file is missing or damaged, or an object is of none of the `classes`.
    """
    found: list[tuple[Path, ElementTree.Element, Path]] = []
    for name in sets:
        folder, _, names = read_names(root, name, "Main")
        for each in names:
            annotation = folder / "Annotations" / f"{each}.xml"
            found.append((annotation, _parse(annotation), folder / "JPEGImages" / f"{each}.jpg"))
    if classes is None:
        classes = sorted({_text(each, "name", path) for path, tree, _ in found for each in tree.findall("object")})
    label_of = {name: number for number, name in enumerate(classes, 1)}
    collector = Collector(
        f"{root / 'VOCdevkit'} ({', '.join(sets)})", tuple(label_of), tuple(label_of.values())
    )
    for position, (path, tree, image) in enumerate(found):
        size = [int(_number(tree, f"size/{side}", path)) for side in ("height", "width")]
        objects = tree.findall("object")
        for each in objects:
            if (name := _text(each, "name", path)) not in label_of:
                raise InputError(f"{path}: an object is a {name!r}, which none is of those that are trained on: "
                                 f"{', '.join(label_of)}")  # fmt: skip
        collector.add(
            str(image),
            position,
            size,
            make_objects(
                [_box(each, path) for each in objects],
                [label_of[_text(each, "name", path)] for each in objects],
                [each.findtext("difficult", "0").strip() == "1" for each in objects],
            ),
        )
    return collector.finish()


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: is not XML, or damaged: {error}") from None


def _box(element: Any, path: Path) -> tuple[float, float, float, float]:
    left, top, right, bottom = (_number(element, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax"))
    return left - 1, top - 1, right, bottom


def _text(element: ElementTree.Element, key: str, path: Path) -> str:
    text = element.findtext(key)
    if text is None:
        raise InputError(f"{path}: has no <{key}> in <{element.tag}>")
    return text.strip()


def _number(element: ElementTree.Element, key: str, path: Path) -> float:
    text = _text(element, key, path)
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: <{key}> must be a number, got {text!r}") from None
