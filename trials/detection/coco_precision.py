"""COCO's average precision of boxes and of masks.

Lin et al., 2014, arXiv:1405.0312, and the data set's own code: the mean over thresholds of IoU from 0.50 to 0.95 and
over classes of the precision at 101 recalls, at most 100 detections an image. Computed by faster-coco-eval, which gives
the numbers of the original pycocotools in a fifth of the time.
"""

from collections.abc import Sequence
from typing import Any, Literal

from trials.detection.annotated_images import AnnotatedImages
from trials.detection.evaluator import coco_library
from trials.detection.found import Found

_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""The first six numbers of COCO's summary. Small: less than 32x32 pixels; large: from 96x96 pixels on."""


def coco_precision(
    truth: dict[str, Any], images: AnnotatedImages, found: Sequence[Found], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    """Return average precisions, as fractions, by name: `ap`, `ap50`, ..., of masks `mask_ap`, ....

    One for which nothing is annotated, such as large objects in small images, is left out.

    Args:
        truth: the annotation file, as `coco_files.read_truth` reads it.
        images: the images of that file; the positions of `found` are theirs, and all of them count.
        found: what was found; an image that is missing has no detections.
        kind: of boxes or of masks.
    """
    library = coco_library()
    prefix = "" if kind == "bbox" else "mask_"
    for each in truth["annotations"]:  # files of others than COCO leave these out
        each.setdefault("area", each["bbox"][2] * each["bbox"][3])
        each.setdefault("iscrowd", 0)
    annotated = library.COCO(truth)
    results = [each for one in found for each in (_boxes if kind == "bbox" else _masks)(one, images)]
    evaluation = library.COCOeval_faster(annotated, annotated.loadRes(results), kind)
    evaluation.params.imgIds = images.ids.tolist()
    evaluation.params.catIds = list(images.category_ids)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    values = {f"{prefix}{name}": float(evaluation.stats[number]) for number, name in enumerate(_NAMES)}
    return {name: value for name, value in values.items() if value >= 0}  # -1: nothing is annotated


def _boxes(found: Found, images: AnnotatedImages) -> list[dict[str, Any]]:
    return [
        {**common, "bbox": [left, top, right - left, bottom - top]}
        for common, (left, top, right, bottom) in zip(_common(found, images), found.boxes, strict=True)
    ]


def _masks(found: Found, images: AnnotatedImages) -> list[dict[str, Any]]:
    size = images.sizes[found.position].tolist()
    return [
        {**common, "segmentation": {"size": size, "counts": counts}}
        for common, counts in zip(_common(found, images), found.masks or (), strict=True)
    ]


def _common(found: Found, images: AnnotatedImages) -> list[dict[str, Any]]:
    return [
        {
            "image_id": int(images.ids[found.position]),
            "category_id": images.category_ids[label - 1],
            "score": score,
        }
        for label, score in zip(found.labels, found.scores, strict=True)
    ]
