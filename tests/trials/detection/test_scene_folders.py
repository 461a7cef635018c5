"""What is written is what torchvision's own readers read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CocoDetection, VOCDetection, VOCSegmentation

from search_spaces import InputError
from trials import SceneSet, draw_scene
from trials.detection.coco_files import read_coco
from trials.detection.run_lengths import compressed, masks_of, run_lengths
from trials.detection.scene_folders import write_scenes
from trials.detection.voc_files import read_voc


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools
def test_torchvision_reads_the_scenes_as_coco(coco_scenes: Path, scenes: SceneSet) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    read = CocoDetection(str(coco_scenes / "train2017"), str(coco_scenes / "annotations/instances_train2017.json"))
    assert len(read) == scenes.num_images
    for number in range(len(read)):
        image, objects = read[number]
        scene = draw_scene(scenes, number)
        assert np.abs(np.asarray(image, np.int64).transpose(2, 0, 1) - scene.image.astype(np.int64)).mean() < 8  # JPEG
        assert [each["category_id"] for each in objects] == scene.labels.tolist()
        left, top, width, height = np.array([each["bbox"] for each in objects]).T
        assert np.array_equal(np.stack([left, top, left + width, top + height], 1), scene.boxes)
        assert np.array_equal(np.stack([read.coco.annToMask(each) for each in objects]), scene.masks)
        assert [each["area"] for each in objects] == scene.masks.sum((1, 2)).tolist()
    names = [each["name"] for each in read.coco.loadCats(read.coco.getCatIds())]
    assert names == list(scenes.classes[1:])


def test_torchvision_reads_the_scenes_as_voc(voc_scenes: Path, scenes: SceneSet) -> None:
    first = VOCDetection(voc_scenes, "2007", "trainval")
    second = VOCDetection(voc_scenes, "2012", "trainval")
    assert len(first) == len(second) == scenes.num_images // 2
    for position, number in enumerate(scenes.train_numbers):
        _, target = (first if position < 6 else second)[position % 6]
        scene = draw_scene(scenes, number)
        objects = target["annotation"]["object"]
        assert [each["name"] for each in objects] == [scenes.classes[label] for label in scene.labels]
        sides = [[int(each["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")] for each in objects]
        assert np.array_equal(np.array(sides) - [1, 1, 0, 0], scene.boxes)  # from 1, and the last pixel is inside


def test_torchvision_reads_the_classes_of_pixels(voc_scenes: Path, scenes: SceneSet) -> None:
    test = VOCSegmentation(voc_scenes, "2007", "test")
    assert len(test) == 3
    for (_, classes), number in zip((test[i] for i in range(3)), scenes.test_numbers, strict=True):
        assert np.array_equal(np.asarray(classes), draw_scene(scenes, number).mask)
        assert classes.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # VOC's first four colours


def test_the_sets_of_a_year_share_no_image_but_trainval(voc_scenes: Path) -> None:
    folder = voc_scenes / "VOCdevkit/VOC2007/ImageSets/Main"
    sets = {path.stem: path.read_text().split() for path in folder.iterdir()}
    assert sets["trainval"] == sets["train"] + sets["val"]
    assert not set(sets["trainval"]) & set(sets["test"])
    assert len(sets["val"]) == 6 // 5


def test_both_formats_hold_the_same_objects(coco_scenes: Path, voc_scenes: Path) -> None:
    coco = read_coco(coco_scenes / "train2017", coco_scenes / "annotations/instances_train2017.json")
    voc = read_voc(voc_scenes, ["2007/trainval", "2012/trainval"], coco.classes)
    for array in ("boxes", "labels", "first", "sizes"):
        assert np.array_equal(getattr(coco, array), getattr(voc, array))


def test_run_lengths_and_masks_are_the_same() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    masks = torch.from_numpy(np.random.default_rng(0).random((5, 7, 4)) < 0.5)
    masks[0], masks[1] = True, False
    written = [run_lengths(mask.numpy()) for mask in masks]
    assert torch.equal(masks_of(written, 7, 4), masks.to(torch.uint8))
    packed = [{"counts": counts, "size": [7, 4]} for counts in compressed(masks)]
    assert torch.equal(masks_of(packed, 7, 4), masks.to(torch.uint8))
    assert compressed(masks[:0]) == []


def test_a_polygon_becomes_the_pixels_inside() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    masks = masks_of([[[1.0, 1.0, 5.0, 1.0, 5.0, 3.0, 1.0, 3.0]]], 6, 8)
    expected = torch.zeros(1, 6, 8, dtype=torch.uint8)
    expected[:, 1:3, 1:5] = 1
    assert torch.equal(masks, expected)


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(SceneSet(8, 32, 2, 0), tmp_path / "scenes", "coco", stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="needs 10 images or more, for its sets, got 8"):
        write_scenes(SceneSet(8, 32, 2, 0), tmp_path / "scenes", "voc")
    (tmp_path / "scenes").mkdir()
    with pytest.raises(InputError, match="scenes exists; give another folder"):
        write_scenes(SceneSet(8, 32, 2, 0), tmp_path / "scenes", "coco")
