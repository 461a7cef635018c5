"""What a detector is shown."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces import InputError
from trials import SceneSet, draw_scene
from trials.detection.coco_files import read_coco
from trials.detection.training_images import TrainingImages, learnable
from trials.retrain.batching import Part

ITEMS = np.array([5, 0, 7, 2])


def reader(folder: Path, flip: float, *, outlines: bool = False) -> TrainingImages:
    file = folder / "annotations/instances_train2017.json"
    images = read_coco(folder / "train2017", file, outlines=outlines)
    return TrainingImages(images, learnable(images), with_set_aside=False, flip=flip, seed=0)


def test_an_image_is_shown_with_its_boxes_and_masks(coco_scenes: Path, scenes: SceneSet) -> None:
    images, targets, _ = reader(coco_scenes, flip=0.0, outlines=True).read(Part(1, range(4), ITEMS))
    for image, target, item in zip(images, targets, ITEMS, strict=True):
        scene = draw_scene(scenes, int(item))
        assert (image.dtype, image.shape) == (torch.uint8, (3, 64, 64))
        assert torch.equal(target["boxes"], torch.from_numpy(scene.boxes))
        assert torch.equal(target["labels"], torch.from_numpy(scene.labels))
        assert torch.equal(target["masks"].bool(), torch.from_numpy(scene.masks))


def test_a_mirrored_image_has_mirrored_boxes_and_masks(coco_scenes: Path, scenes: SceneSet) -> None:
    (as_is, *_), _, _ = reader(coco_scenes, flip=0.0).read(Part(1, range(1), ITEMS[:1]))
    (image,), (target,), _ = reader(coco_scenes, flip=1.0, outlines=True).read(Part(1, range(1), ITEMS[:1]))
    scene = draw_scene(scenes, 5)
    assert torch.equal(image, as_is.flip(2))
    left, top, right, bottom = scene.boxes.T
    assert np.array_equal(target["boxes"].numpy(), np.stack([64 - right, top, 64 - left, bottom], 1))
    assert np.array_equal(target["masks"].numpy().astype(bool), scene.masks[:, :, ::-1])
    assert type(target["boxes"]) is torch.Tensor


def test_what_is_drawn_depends_on_seed_epoch_and_slot_alone(coco_scenes: Path) -> None:
    read = reader(coco_scenes, flip=0.5)
    whole, _, _ = read.read(Part(1, range(8), np.arange(8)))
    later, _, seed = read.read(Part(1, range(4, 8), np.arange(4, 8)))
    assert all(map(torch.equal, whole[4:], later))
    assert seed == read.read(Part(1, range(4, 8), np.arange(4, 8)))[2] != read.read(Part(2, range(4, 8), ITEMS))[2]
    corners = [[image[0, 0] for image in read.read(Part(epoch, range(8), np.arange(8)))[0]] for epoch in range(1, 5)]
    flips = torch.stack([torch.stack(each) for each in corners])
    assert len(flips.flatten(1).unique(dim=0)) == 4  # no two epochs mirror the same


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A set of one image with a good box, one over the edge, an empty one, one outside, and a crowd."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "train2017/a.jpg")
    boxes = [[1, 2, 3, 4], [15, 5, 10, 10], [4, 4, 0, 3], [30, 2, 5, 5], [0, 0, 20, 10]]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": int(n == 4)} for n, box in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 20}]
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(data))
    return tmp_path


def test_crowds_and_empty_boxes_are_left_out_and_others_cut_to_the_image(odd: Path) -> None:
    _, (target,), _ = reader(odd, flip=0.0).read(Part(1, range(1), np.array([0])))
    assert target["boxes"].tolist() == [[1, 2, 4, 6], [15, 5, 20, 10]]
    assert target["labels"].tolist() == [1, 1]


def test_an_image_that_is_missing_damaged_or_of_another_size_is_named(odd: Path) -> None:
    read, part, path = reader(odd, flip=0.0), Part(1, range(1), np.array([0])), odd / "train2017/a.jpg"
    Image.new("RGB", (10, 20)).save(path)
    with pytest.raises(InputError, match=r"a.jpg: is 20x10 pixels, .*instances_train2017.json says 10x20"):
        read.read(part)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"a.jpg: not a readable image, or damaged: .*; replace the file"):
        read.read(part)
    path.unlink()
    with pytest.raises(InputError, match=r"a.jpg: no such file, though the annotations name it"):
        read.read(part)
