"""Pascal VOC's folders: `VOCdevkit/VOC<year>` with XML annotations, as torchvision's `VOCDetection` takes them.

Everingham et al., 2010, The Pascal Visual Object Classes (VOC) Challenge, IJCV 88(2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
    found = []
    for name in sets:
        folder, _, names = read_names(root, name, "Main")
        found += [_read_one(folder, each) for each in names]
    if classes is None:
        classes = sorted({kind for one in found for kind in one.kinds})
    label_of = {name: number for number, name in enumerate(classes, 1)}
    source = f"{root / 'VOCdevkit'} ({', '.join(sets)})"
    collector = Collector(source, tuple(label_of), tuple(label_of.values()))
    for position, one in enumerate(found):
        if strange := sorted(set(one.kinds) - set(label_of)):
            raise InputError(
                f"{one.path}: an object is a {strange[0]!r}, which is not trained on; classes: {', '.join(label_of)}"
            )
        objects = make_objects(one.boxes, [label_of[kind] for kind in one.kinds], one.difficult)
        collector.add(one.image, position, one.size, objects)
    return collector.finish()


@dataclass(frozen=True)
class _Annotation:
    """What an XML file says."""

    path: Path
    image: str
    size: tuple[int, int]
    """Height and width."""
    kinds: list[str]
    boxes: list[tuple[float, float, float, float]]
    difficult: list[bool]


def _read_one(folder: Path, name: str) -> _Annotation:
    path = folder / "Annotations" / f"{name}.xml"
    root = _parse(path)
    objects = root.findall("object")
    return _Annotation(
        path,
        str(folder / "JPEGImages" / f"{name}.jpg"),
        (int(_number(root, "size/height", path)), int(_number(root, "size/width", path))),
        [_text(each, "name", path) for each in objects],
        [_box(each, path) for each in objects],
        [each.findtext("difficult", "0").strip() == "1" for each in objects],
    )


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: is not XML, or damaged: {error}") from None


def _box(element: ElementTree.Element, path: Path) -> tuple[float, float, float, float]:
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
