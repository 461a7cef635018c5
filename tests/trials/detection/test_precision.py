"""Average precision against its definition, computed step by step, and against COCO's original code."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trials.detection.annotated_images import AnnotatedImages, Collector, make_objects
from trials.detection.coco_files import read_coco, read_truth
from trials.detection.coco_precision import coco_precision
from trials.detection.found import Found
from trials.detection.run_lengths import compressed, masks_of
from trials.detection.voc_precision import voc_precision

THRESHOLDS = [number / 100 for number in range(50, 100, 5)]
Box = Sequence[float]


def overlap(box: Box, other: Box, *, crowd: bool = False) -> float:
    """Return intersection over union; over the first box where the other is a crowd."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    area, other_area = ((each[2] - each[0]) * (each[3] - each[1]) for each in (box, other))
    return shared / (area if crowd else area + other_area - shared)


def random_set(seed: int, *, set_aside: float) -> tuple[AnnotatedImages, list[Found]]:
    """Return images with objects of two classes, and detections near them, of different scores each."""
    rng = np.random.default_rng(seed)
    collector = Collector("made", ("cat", "dog"), (3, 7))
    found = []
    for position in range(12):
        corners = rng.uniform(0, 60, (int(rng.integers(0, 6)), 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 40, corners.shape)], 1)
        labels = rng.integers(1, 3, len(boxes))
        objects = make_objects(boxes.tolist(), labels.tolist(), (rng.random(len(boxes)) < set_aside).tolist())
        collector.add(f"{position}.jpg", position + 100, (100, 100), objects)
        near = np.repeat(objects.boxes, 2, 0) + rng.normal(0, 2.5, (2 * len(boxes), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        given = np.where(rng.random(len(near)) < 0.85, np.repeat(labels, 2), 1)
        found.append(Found(position, near.tolist(), given.tolist(), rng.random(len(near)).tolist()))
    return collector.finish(), found


def as_coco(images: AnnotatedImages) -> dict[str, Any]:
    """Return what an annotation file would hold."""
    annotations = []
    for position in range(len(images)):
        objects = images.objects(position)
        for box, label, crowd in zip(objects.boxes.tolist(), objects.labels, objects.set_aside, strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": int(images.ids[position]),
                "category_id": images.category_ids[label - 1], "iscrowd": int(crowd),
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            })  # fmt: skip
    sizes = [{"id": int(each), "height": 100, "width": 100} for each in images.ids]
    return {"images": sizes, "annotations": annotations, "categories": [{"id": 3}, {"id": 7}]}


def detections_of(label: int, found: list[Found]) -> list[tuple[float, int, Box]]:
    """Return score, image and box of each detection of a class, the most confident first."""
    every = [
        (score, one.position, box)
        for one in found
        for box, given, score in zip(one.boxes, one.labels, one.scores, strict=True)
        if given == label
    ]
    return sorted(every, key=lambda each: -each[0])


def matched_as_coco(images: AnnotatedImages, found: list[Found], label: int, threshold: float) -> list[bool]:
    """Return which detections are right: each takes the best object that is free; on crowds they do not count."""
    taken: set[tuple[int, int]] = set()
    right = []
    for _, position, box in detections_of(label, found):
        objects = images.objects(position)
        mine = [n for n in range(len(objects)) if objects.labels[n] == label]
        free = [n for n in mine if not objects.set_aside[n] and (position, n) not in taken]
        best = max(free, key=lambda n: overlap(box, objects.boxes[n].tolist()), default=-1)
        if best >= 0 and overlap(box, objects.boxes[best].tolist()) >= threshold:
            taken.add((position, best))
            right.append(True)
        elif not any(
            objects.set_aside[n] and overlap(box, objects.boxes[n].tolist(), crowd=True) >= threshold for n in mine
        ):
            right.append(False)
    return right


def matched_as_voc(images: AnnotatedImages, found: list[Found], label: int, threshold: float) -> list[bool]:
    """Return which detections are right: the object that each overlaps most decides, difficult ones do not count."""
    taken: set[tuple[int, int]] = set()
    right = []
    for _, position, box in detections_of(label, found):
        objects = images.objects(position)
        mine = [n for n in range(len(objects)) if objects.labels[n] == label]
        best = max(mine, key=lambda n: overlap(box, objects.boxes[n].tolist()), default=-1)
        if best < 0 or overlap(box, objects.boxes[best].tolist()) < threshold:
            right.append(False)
        elif not objects.set_aside[best]:
            right.append((position, best) not in taken)
            taken.add((position, best))
    return right


def mean_at(recalls: Sequence[float], right: list[bool], num_objects: int) -> float:
    """Return the mean over recalls of the best precision at that recall or a higher one."""
    points = [(sum(right[:n]) / num_objects, sum(right[:n]) / n) for n in range(1, len(right) + 1)]
    return float(np.mean([max((p for r, p in points if r >= recall), default=0.0) for recall in recalls]))


def num_counted(images: AnnotatedImages, label: int) -> int:
    return int(((images.labels == label) & ~images.set_aside).sum())


@pytest.mark.parametrize("seed", range(3))
def test_cocos_average_precision_is_its_definition(seed: int) -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    images, found = random_set(seed, set_aside=0.15)
    scores = coco_precision(as_coco(images), images, found, "bbox")
    recalls = np.linspace(0, 1, 101).tolist()
    expected = {
        threshold: np.mean([
            mean_at(recalls, matched_as_coco(images, found, label, threshold), num_counted(images, label))
            for label in (1, 2)
        ])
        for threshold in THRESHOLDS
    }  # fmt: skip
    assert scores["ap50"] == pytest.approx(expected[0.5], abs=1e-9)
    assert scores["ap75"] == pytest.approx(expected[0.75], abs=1e-9)
    assert scores["ap"] == pytest.approx(np.mean(list(expected.values())), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_vocs_average_precision_is_its_definition(seed: int) -> None:
    images, found = random_set(seed, set_aside=0.2)
    scores = voc_precision(images, found)
    tenths = [tenth / 10 for tenth in range(11)]
    expected = {
        threshold: np.mean([
            mean_at(tenths, matched_as_voc(images, found, label, threshold), num_counted(images, label))
            for label in (1, 2)
        ])
        for threshold in THRESHOLDS
    }  # fmt: skip
    assert scores["ap50"] == pytest.approx(expected[0.5])
    assert scores["ap75"] == pytest.approx(expected[0.75])
    assert scores["ap"] == pytest.approx(np.mean(list(expected.values())))
    areas = []
    for label in (1, 2):
        right, num = matched_as_voc(images, found, label, 0.5), num_counted(images, label)
        # Recall rises by 1/num with each right one; the curve there is the best precision from there on.
        steps = [n for n in range(1, len(right) + 1) if right[n - 1]]
        areas.append(sum(max(sum(right[:m]) / m for m in range(n, len(right) + 1)) for n in steps) / num)
    assert scores["ap50_area"] == pytest.approx(np.mean(areas))


def one_image(boxes: list[Box], *, set_aside: Sequence[bool]) -> AnnotatedImages:
    collector = Collector("made", ("cat",), (1,))
    collector.add("0.jpg", 1, (50, 50), make_objects(boxes, [1] * len(boxes), set_aside))
    return collector.finish()


def test_vocs_precision_of_one_image_by_hand() -> None:
    images = one_image([[0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30]], set_aside=[False, False, True])
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 20, 10, 30], [20, 0, 30, 5]]
    found = [Found(0, boxes, [1] * 4, [0.9, 0.8, 0.7, 0.6])]
    # Right; twice the same; difficult: passed over; IoU of exactly a half: right. Precisions 1, 1/2, 2/3 at recalls
    # 1/2, 1/2, 1: eleven recalls see 1 up to 0.5 and 2/3 after it.
    scores = voc_precision(images, found)
    assert scores["ap50"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert scores["ap50_area"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert scores["ap75"] == pytest.approx(6 / 11)


def test_nothing_found_is_worth_nothing_and_nothing_annotated_has_no_score() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    images = one_image([[0, 0, 10, 10]], set_aside=[False])
    assert voc_precision(images, []) == {"ap": 0, "ap50": 0, "ap75": 0, "ap50_area": 0}
    assert coco_precision(as_coco(images) | {"categories": [{"id": 1}]}, images, [], "bbox")["ap"] == 0
    assert voc_precision(one_image([[0, 0, 10, 10]], set_aside=[True]), []) == {}
    assert coco_precision({**as_coco(images), "annotations": []}, images, [], "bbox") == {}


def disturbed(images: AnnotatedImages, seed: int) -> list[Found]:
    """Return detections of scenes: their masks shifted by up to two pixels, some of another class, some twice."""
    rng = np.random.default_rng(seed)
    found = []
    for position in range(len(images)):
        objects = images.objects(position)
        masks = masks_of(objects.outlines, *images.sizes[position].tolist())
        numbers = rng.integers(0, len(objects), 2 * len(objects))
        shifts = rng.integers(-2, 3, (len(numbers), 2))
        moved = [torch.roll(masks[n], tuple(shift.tolist()), (0, 1)) for n, shift in zip(numbers, shifts, strict=True)]
        boxes: NDArray[np.float32] = objects.boxes[numbers] + shifts[:, [1, 0, 1, 0]]
        labels = np.where(rng.random(len(numbers)) < 0.8, objects.labels[numbers], 1)
        scores = rng.random(len(numbers)).round(1)  # equal ones too
        found.append(Found(position, boxes.tolist(), labels.tolist(), scores.tolist(), compressed(torch.stack(moved))))
    return found


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_numbers_are_those_of_pycocotools(coco_scenes: Path, kind: Literal["bbox", "segm"]) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    file = coco_scenes / "annotations/instances_train2017.json"
    images = read_coco(coco_scenes / "train2017", file, outlines=True)
    found = disturbed(images, 0)
    scores = coco_precision(read_truth(file), images, found, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        results = []
        for one in found:
            for box, label, score, counts in zip(one.boxes, one.labels, one.scores, one.masks or [], strict=True):
                what = {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]} if kind == "bbox" else {
                    "segmentation": {"size": [64, 64], "counts": counts}
                }  # fmt: skip
                results.append({"image_id": one.position + 1, "category_id": label, "score": score, **what})
        original = COCOeval(truth, truth.loadRes(results), kind)
        original.evaluate()
        original.accumulate()
        original.summarize()
    prefix = "mask_" if kind == "segm" else ""
    names = [f"{prefix}{name}" for name in ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")]
    expected = {name: value for name, value in zip(names, original.stats[:6], strict=True) if value >= 0}
    assert 0.1 < expected[f"{prefix}ap"] < 0.9
    assert f"{prefix}ap_large" not in expected  # no scene of 64 pixels has an object of 96x96
    assert scores == pytest.approx(expected, abs=1e-12)
