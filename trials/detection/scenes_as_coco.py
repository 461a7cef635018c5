"""Scenes as files in the format of COCO."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from trials.detection.run_lengths import run_lengths
from trials.detection.scene_jpeg import Progress, save_jpeg
from trials.scenes import Scene, SceneSet, draw_scene


def write_coco(scenes: SceneSet, folder: Path, progress: Progress | None = None) -> None:
    """Write `train2017`, `val2017` and `annotations/instances_*.json`, masks as run lengths.

    Objects have holes and lie on each other, which polygons cannot tell.
    """
    total = len(scenes.train_numbers) + len(scenes.test_numbers)
    done = 0
    (folder / "annotations").mkdir(parents=True)
    for name, numbers in (("train2017", scenes.train_numbers), ("val2017", scenes.test_numbers)):
        (folder / name).mkdir()
        images: list[Any] = []
        annotations: list[Any] = []
        for image_id, number in enumerate(numbers, 1):
            scene, file_name = draw_scene(scenes, number), f"{image_id:012d}.jpg"
            save_jpeg(scene, folder / name / file_name)
            images.append({"id": image_id, "file_name": file_name, "height": scenes.size, "width": scenes.size})
            annotations += _coco_objects(scene, image_id, len(annotations) + 1)
            done += 1
            if progress:
                progress(done, total)
        instances = {
            "info": {"description": f"scenes drawn from seed {scenes.seed}"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": each} for number, each in enumerate(scenes.classes[1:], 1)],
        }
        (folder / "annotations" / f"instances_{name}.json").write_bytes(orjson.dumps(instances))


def _coco_objects(scene: Scene, image_id: int, first_id: int) -> Iterator[dict[str, Any]]:
    for number, (box, label, mask) in enumerate(zip(scene.boxes, scene.labels, scene.masks, strict=True)):
        left, top, right, bottom = map(float, box)
        yield {
            "id": first_id + number,
            "image_id": image_id,
            "category_id": int(label),
            "bbox": [left, top, right - left, bottom - top],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": run_lengths(mask),
        }
