"""Semantic segmentation through the engine of `nas retrain`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quick_recipes import segmentation_recipe, setting
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import Architecture, InputError
from trials import SceneSet, draw_scene
from trials.detection.pixel_images import Cropping, count_classes, read_pixel_images
from trials.retrain.batching import Part
from trials.retrain.job import Job
from trials.retrain.launch import retrain
from trials.retrain.reload import evaluate_retrained
from trials.segmentation import IGNORED, PixelTally, mean_iou


def test_classes_are_counted_in_the_training_images(voc_scenes: Path) -> None:
    assert count_classes(read_pixel_images(voc_scenes, ["2007/trainval", "2012/trainval"])) == 4


def crops(folder: Path, size: int, scale: tuple[float, float], flip: float, epoch: int = 1) -> tuple[Tensor, Tensor]:
    images = read_pixel_images(folder, ["2007/trainval"])
    return Cropping(images, 4, size, scale, flip, seed=0).read(Part(epoch, range(6), np.arange(6)))


def test_a_crop_of_the_whole_image_is_the_image(voc_scenes: Path, scenes: SceneSet) -> None:
    images, labels = crops(voc_scenes, 64, (1.0, 1.0), 0.0)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.uint8)
    expected = torch.stack([torch.from_numpy(draw_scene(scenes, number).mask) for number in range(6)])
    assert torch.equal(labels, expected)
    mirrored_images, mirrored = crops(voc_scenes, 64, (1.0, 1.0), 1.0)
    assert torch.equal(mirrored, expected.flip(2))
    assert torch.equal(mirrored_images, images.flip(3))


def test_what_lies_outside_an_image_counts_nowhere(voc_scenes: Path, scenes: SceneSet) -> None:
    images, labels = crops(voc_scenes, 80, (1.0, 1.0), 0.0)
    assert (labels[:, 64:] == IGNORED).all()
    assert (labels[:, :, 64:] == IGNORED).all()
    assert (images[:, :, 64:] == 0).all()
    assert torch.equal(labels[0, :64, :64], torch.from_numpy(draw_scene(scenes, 0).mask))


def test_a_small_crop_lies_in_the_image_and_follows_seed_and_epoch(voc_scenes: Path, scenes: SceneSet) -> None:
    _, labels = crops(voc_scenes, 32, (1.0, 1.0), 0.0)
    whole = torch.from_numpy(draw_scene(scenes, 0).mask)
    windows = whole.unfold(0, 32, 1).unfold(1, 32, 1)
    assert (windows == labels[0]).flatten(2).all(2).any()
    assert torch.equal(labels, crops(voc_scenes, 32, (1.0, 1.0), 0.0)[1])
    assert not torch.equal(labels, crops(voc_scenes, 32, (1.0, 1.0), 0.0, epoch=2)[1])


def test_pixels_that_are_ignored_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(3, (2, 4, 5), generator=generator).to(torch.uint8)
    labels[0, :2] = IGNORED
    tally = PixelTally(3, torch.device("cpu"), by_size=False)
    tally.add(logits, labels, None)
    score = tally.score()
    kept = labels != IGNORED
    mine, given = labels[kept].long(), logits.argmax(1)[kept]
    assert score.accuracy == pytest.approx(float((mine == given).float().mean()))
    assert score.loss == pytest.approx(float(F.cross_entropy(logits.movedim(1, -1)[kept], mine)))
    assert score.miou == mean_iou(torch.bincount(3 * mine + given, minlength=9).reshape(3, 3), range(3))


def test_counts_of_several_processes_are_added_up() -> None:
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5)).to(torch.uint8)
    twice, once = (PixelTally(3, torch.device("cpu"), by_size=False) for _ in range(2))
    for _ in range(2):
        twice.add(logits, labels, None)
    once.add(logits, labels, None)
    assert once.score(lambda tensor: 2 * tensor) == twice.score()


def test_it_is_trained_and_reloads_with_the_same_score(small: Architecture, voc_scenes: Path, tmp_path: Path) -> None:
    job = Job(small, segmentation_recipe(), "quick", 3, tmp_path, voc_scenes, "cpu", workers=0)
    record = retrain(job)
    assert (record.task, record.metric, record.split, record.num_train) == ("segmentation", "miou", "test", 12)
    assert Architecture.load(tmp_path / "architecture.yaml").host.classes == 4
    assert 0 < record.metrics["miou"] < record.metrics["accuracy"] < 1
    assert evaluate_retrained(tmp_path, voc_scenes, device="cpu", workers=0) == record.metrics


class Oracle(nn.Module):
    """Knows the classes of the test images' pixels."""

    def __init__(self, scenes: SceneSet) -> None:
        super().__init__()
        self._answers = [draw_scene(scenes, number).mask for number in scenes.test_numbers]

    def forward(self, _: Tensor) -> Tensor:
        mask = torch.from_numpy(self._answers.pop(0)).long()
        return 100 * F.one_hot(mask, 4).movedim(-1, 0)[None].float()


def test_who_knows_every_pixel_has_all_points(small: Architecture, voc_scenes: Path, scenes: SceneSet) -> None:
    task = segmentation_recipe().prepare(setting(small, voc_scenes))
    assert task.evaluate(Oracle(scenes)) == {"miou": 1, "accuracy": 1, "loss": 0}


def test_a_crop_in_which_nothing_counts_has_no_loss(small: Architecture, voc_scenes: Path) -> None:
    task = segmentation_recipe().prepare(setting(small, voc_scenes))
    network = nn.Conv2d(3, 4, 1)
    nothing = torch.full((2, 8, 8), IGNORED)
    assert task.loss(network, (torch.rand(2, 3, 8, 8), nothing)) == 0
    labels = nothing.clone()
    labels[0, 0, :4] = 1
    images = torch.rand(2, 3, 8, 8)
    expected = F.cross_entropy(network(images)[:1, :, :1, :4], labels[:1, :1, :4])
    assert torch.allclose(task.loss(network, (images, labels)), expected)


def test_files_that_do_not_fit_are_named(voc_scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(voc_scenes / "VOCdevkit", tmp_path / "VOCdevkit")
    home = tmp_path / "VOCdevkit/VOC2007"
    images = read_pixel_images(tmp_path, ["2007/trainval"])
    with pytest.raises(InputError, match=r"000001.png: a pixel has class \d, and there are 1 with the background"):
        images.read(0, 1)
    Image.new("L", (9, 8)).save(home / "SegmentationClass/000001.png")
    with pytest.raises(InputError, match=r"000001.png: is 8x9 pixels, .*000001.jpg 64x64"):
        images.read(0)
    Image.new("RGB", (64, 64)).save(home / "SegmentationClass/000001.png")
    with pytest.raises(InputError, match=r"000001.png: has mode RGB; classes of pixels are a PNG with a palette"):
        images.read(0)
    with pytest.raises(InputError, match=r"Segmentation/tests.txt: cannot be read: .*sets there: test, train"):
        read_pixel_images(tmp_path, ["2007/tests"])
    host = {"name": "resnet18", "width": 0.25, "input": 64, "neck": "fpn", "head": "segment", "classes": 9}
    with pytest.raises(InputError, match=r"`classes: 9`, .*trainval.txt has 4 with the background; write `classes: 4`"):
        segmentation_recipe().prepare(setting(Architecture.from_dict({"host": host}), voc_scenes))


def test_modules_for_one_size_of_map_are_refused(voc_scenes: Path) -> None:
    made = {"module": "ge", "extent": "global", "variant": "theta"}
    fixed = Architecture.from_dict({"host": {"name": "resnet20", "input": 32}, "placement": {"layer1.0/branch": made}})
    with pytest.raises(InputError, match="whole images are scored, which have many sizes, and a module cannot"):
        segmentation_recipe().prepare(setting(fixed, voc_scenes))
