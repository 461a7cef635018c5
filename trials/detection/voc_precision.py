"""Pascal VOC's average precision of boxes.

Everingham et al., 2010, IJCV 88(2), section 4.2, and the development kits' VOCevaldet: a detection belongs to the
object of its class that it overlaps most, if their IoU is enough; a second one for the same object is wrong, and one
for a difficult object counts neither way. VOC 2007 takes the mean of the precision at eleven recalls, later years the
whole area below the curve.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trials.detection.annotated_images import AnnotatedImages
from trials.detection.found import Found

Values = NDArray[np.float64]
Ints = NDArray[np.int64]

_THRESHOLDS = tuple(number / 100 for number in range(50, 100, 5))


def voc_precision(images: AnnotatedImages, found: Sequence[Found]) -> dict[str, float]:
    """Return mean average precisions, as fractions, by name; means over the classes that have an object.

    `ap50`, `ap75`: at an IoU of 0.50 and of 0.75, at eleven recalls, as VOC 2007 does. `ap`: the mean of those at 0.50,
    0.55, ... 0.95, as Detectron2 reports for VOC 2007, and the CAT paper with it. `ap50_area`: at 0.50, the area, as
    VOC does since 2010.

    Args:
        images: the images and their objects; the positions of `found` are theirs.
        found: what was found; an image that is missing has no detections.
    """
    counted = images.labels[~images.set_aside]
    by_class = [_Matches(images, found, int(label)) for label in np.unique(counted)]
    if not by_class:
        return {}
    eleven = {each: _mean([one.precision(each, eleven=True) for one in by_class]) for each in _THRESHOLDS}
    return {
        "ap": _mean(list(eleven.values())),
        "ap50": eleven[0.5],
        "ap75": eleven[0.75],
        "ap50_area": _mean([one.precision(0.5, eleven=False) for one in by_class]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


class _Matches:
    """All detections of a class, the most confident first, each with the object that it overlaps most."""

    def __init__(self, images: AnnotatedImages, found: Sequence[Found], label: int) -> None:
        scores: list[Values] = []
        overlaps: list[Values] = []
        nearest: list[Ints] = []
        for one in sorted(found, key=lambda each: each.position):
            mine = np.flatnonzero(np.array(one.labels, dtype=np.int64) == label)
            span = slice(images.first[one.position], images.first[one.position + 1])
            numbers = np.flatnonzero(images.labels[span] == label) + int(images.first[one.position])
            boxes = np.array(one.boxes, dtype=np.float64).reshape(-1, 4)[mine]
            shares = iou(boxes, images.boxes[numbers].astype(np.float64))
            scores.append(np.array(one.scores, dtype=np.float64)[mine])
            overlaps.append(shares.max(axis=1) if len(numbers) else np.zeros(len(mine)))
            nearest.append(numbers[shares.argmax(axis=1)] if len(numbers) else np.full(len(mine), -1))
        order = np.argsort(-np.concatenate([*scores, []]), kind="stable")
        self._overlaps: Values = np.concatenate([*overlaps, []])[order]
        self._nearest: Ints = np.concatenate([*nearest, np.empty(0, np.int64)])[order]
        self._difficult = images.set_aside
        self._num_objects = int(np.sum((images.labels == label) & ~images.set_aside))

    def precision(self, threshold: float, *, eleven: bool) -> float:
        """Return the average precision at an IoU."""
        hits = self._overlaps >= threshold
        hits[hits] &= self._nearest[hits] >= 0
        passed_over = np.zeros(len(hits), dtype=np.bool_)
        passed_over[hits] = self._difficult[self._nearest[hits]]
        right = np.zeros(len(hits), dtype=np.bool_)
        where = np.flatnonzero(hits & ~passed_over)
        # The first detection of an object is right, all others are wrong.
        right[where[np.unique(self._nearest[where], return_index=True)[1]]] = True
        kept = right[~passed_over]
        num_right = np.cumsum(kept)
        recalls = num_right / self._num_objects
        precisions = num_right / np.arange(1, len(kept) + 1)
        return _at_eleven(recalls, precisions) if eleven else _area(recalls, precisions)


def iou(boxes: Values, others: Values) -> Values:
    """Return the intersections over unions (n, m) of boxes (n, 4) and (m, 4), left, top, right, bottom."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(opposite - corner, 0), axis=2)
    areas, other_areas = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    shares: Values = shared / np.maximum(areas[:, None] + other_areas[None] - shared, 1e-12)
    return shares


def _at_eleven(recalls: Values, precisions: Values) -> float:
    """Return the mean over recalls 0, 0.1, ... 1 of the best precision at that recall or a higher one."""
    reached = [precisions[recalls >= tenth / 10] for tenth in range(11)]
    return sum(float(each.max()) if len(each) else 0.0 for each in reached) / 11


def _area(recalls: Values, precisions: Values) -> float:
    """Return the area below the curve of the best precision at a recall or a higher one."""
    best = np.maximum.accumulate(precisions[::-1])[::-1]
    return float(np.sum(np.diff(recalls, prepend=0.0) * best))
