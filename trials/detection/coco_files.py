"""COCO's annotation files: `instances_*.json` beside folders of images, as torchvision's `CocoDetection` takes them.

Lin et al., 2014, Microsoft COCO, arXiv:1405.0312.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson

from search_spaces import InputError
from trials.detection.annotated_images import AnnotatedImages, Collector, Objects, make_objects


def read_coco(folder: Path, annotations: Path, *, outlines: bool = False) -> AnnotatedImages:
    """Return the images of an annotation file in the order of their ids, as `CocoDetection` has them.

    Classes are the file's categories in the order of their ids, without gaps: COCO's 80 of 1 to 90 are 1 to 80.

    Args:
        folder: where the images lie.
        annotations: the JSON file.
        outlines: keep the segmentations too, polygons and run lengths alike.

    Raises:
        InputError: a file or folder is missing, or the file is damaged or no file of instances.
    """
    data = read_truth(annotations)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images; {annotations} speaks of it")
    categories = {each.get("id", -1): str(each.get("name")) for each in _list(data, "categories", annotations)}
    label_of = {category: number for number, category in enumerate(sorted(categories), 1)}
    collector = Collector(
        str(annotations),
        tuple(categories[category] for category in label_of),
        tuple(label_of),
        with_outlines=outlines,
    )
    of_image: dict[int, list[Any]] = defaultdict(list)
    for each in _list(data, "annotations", annotations):
        of_image[each.get("image_id", -1)].append(each)
    for image in sorted(_list(data, "images", annotations), key=lambda each: int(each.get("id", -1))):
        try:
            objects = _objects_of(of_image[image["id"]], label_of, outlines)
            size = int(image["height"]), int(image["width"])
            collector.add(str(folder / image["file_name"]), image["id"], size, objects)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{annotations}: image {image.get('id')} is not described as COCO does: {error!r}"
            ) from None
    return collector.finish()


def _objects_of(found: list[Any], label_of: dict[int, int], outlines: bool) -> Objects:
    return make_objects(
        [_corners(each["bbox"]) for each in found],
        [label_of[each["category_id"]] for each in found],
        [bool(each.get("iscrowd", 0)) for each in found],
        [each["segmentation"] for each in found] if outlines else (),
    )


def read_truth(annotations: Path) -> dict[str, Any]:
    """Return the whole of an annotation file. Raises InputError."""
    path = annotations
    try:
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; COCO's annotations lie in `annotations/` beside the folders of "
            "images (`nas scenes FOLDER` makes a small set in the same format)"
        ) from None
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path}: is not JSON, or damaged: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: is no file of instances: expected keys (images, annotations, categories)")
    return data


def _list(data: dict[str, Any], key: str, path: Path) -> list[Any]:
    if not isinstance(data.get(key), list) or not all(isinstance(each, dict) for each in data[key]):
        raise InputError(f"{path}: is no file of instances: it has no list of `{key}`")
    values: list[Any] = data[key]
    return values


def _corners(bbox: list[float]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of COCO's left, top, width and height."""
    left, top, width, height = bbox
    return left, top, left + width, top + height
