"""Retraining on JPEGs in ImageNet's layout, from kill to reload; the same loss curve in two processes as in one."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from make_imagenet import make_imagenet, wnid
from toy_task import forked, history_of

from search_spaces import Architecture, InputError
from search_spaces.yaml_files import parse_yaml
from trials.retrain import Job, evaluate_retrained, load_retrained, retrain
from trials.retrain.recipe import Recipe
from trials.retrain.recipes import parse_recipe

ARCHITECTURE = Architecture.from_dict(
    {"host": {"name": "resnet20", "classes": 4, "input": 32}, "placement": {"layer3.*/branch": {"module": "se"}}}
)
RECIPE = """
task: classification
source: made for tests
epochs: 4
batch_size: 16
optimizer: {lr: 0.05}
schedule: {warmup: 1}
precision: fp32
data: {source: imagenet}
crop: {train_size: 32, eval_resize: 36, eval_size: 32, scale: [0.5, 1.0], eval_flip: true}
augment: {policy: trivialaugment, erasing: 0.1, mixup: 0.2, cutmix: 1.0, unmixed_epochs: 2}
loss: {label_smoothing: 0.1}
ema: {decay: 0.9}
checkpoint_s: 0.000001
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet")
    make_imagenet(folder, classes=4, train=16, val=6)
    return folder


def recipe(more: str = "") -> Recipe:
    return parse_recipe(parse_yaml(RECIPE + more))


def job(out: Path, images: Path, chosen: Recipe | None = None, **settings: Any) -> Job:
    chosen = chosen or recipe()
    return Job(ARCHITECTURE, chosen, "tests", 0, out, images, device="cpu", **settings)


def test_retrained_killed_resumed_evaluated_and_reloaded_with_equal_accuracy(tmp_path: Path, images: Path) -> None:
    killed, straight = job(tmp_path / "killed", images, workers=1), job(tmp_path / "straight", images, workers=0)
    for number in (signal.SIGKILL, signal.SIGTERM):
        before, process = newest(killed.out), forked(retrain, killed)
        while newest(killed.out) <= before and process.is_alive():
            time.sleep(0.01)
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == (-signal.SIGKILL if number == signal.SIGKILL else 1)
    record = retrain(killed)
    assert record.runs == 3
    assert record.metrics == retrain(straight).metrics
    assert evaluate_retrained(killed.out, images, device="cpu") == record.metrics
    one, other = (load_retrained(each.out).state_dict() for each in (killed, straight))
    assert all(one[name].equal(other[name]) for name in one)
    assert record.metrics["top1"] > 1 / 4  # better than chance: 4 classes


def newest(out: Path) -> str:
    return max((path.name for path in (out / "checkpoints").glob("step-*")), default="")


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_with_twice_the_parts(tmp_path: Path, images: Path) -> None:
    plain = RECIPE.replace("trivialaugment, erasing: 0.1", "none")
    two = job(tmp_path / "two", images, parse_recipe(parse_yaml(plain)))
    one = job(tmp_path / "one", images, parse_recipe(parse_yaml(plain + "accumulation: 2\n")))
    both = retrain(two, processes=2), retrain(one)
    assert [record.processes for record in both] == [2, 1]
    assert [record.part_size for record in both] == [8, 8]
    assert both[0].recipe_hash == both[1].recipe_hash
    ours, theirs = ([epoch["train_loss"] for epoch in history_of(each.out)] for each in (two, one))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours[0] != ours[-1]


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    make_imagenet(tmp_path / "images", classes=4, train=16, val=6, sizes=((40, 40),))
    broken = tmp_path / "images" / "train" / wnid(2) / f"{wnid(2)}_3.JPEG"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(InputError, match=rf"{broken.name}: not a readable image, or damaged: "):
        retrain(job(tmp_path / "out", tmp_path / "images", workers=1))


def test_a_host_for_other_images_is_refused_with_the_command_that_transfers_the_placement(
    tmp_path: Path, images: Path
) -> None:
    proxy = Architecture.from_dict({"host": {"name": "resnet20", "classes": 10}, "placement": {}})
    asked = Job(proxy, recipe(), "tests", 0, tmp_path, images, device="cpu")
    with pytest.raises(
        InputError, match=r"`classes: 10`, but the images need `classes: 4`; `nas transfer ARCHITECTURE "
    ):
        retrain(asked)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path, images: Path) -> None:
    with pytest.raises(
        InputError, match=r"`batch_size: 16` cannot be divided among 1 processes with `accumulation: 3`"
    ):
        retrain(job(tmp_path, images, recipe("accumulation: 3\n")))
    with pytest.raises(InputError, match=r"among 3 processes with `accumulation: 1`: .* must divide 16"):
        retrain(job(tmp_path, images), processes=3)


def test_a_cache_trains_on_the_same_images_scaled_once(tmp_path: Path) -> None:
    make_imagenet(tmp_path / "images", classes=4, train=16, val=6, sizes=((36, 36), (36, 50)))
    text = RECIPE.replace("source: imagenet", "source: imagenet, cache: 36")
    records = [
        retrain(job(tmp_path / name, tmp_path / "images", parse_recipe(parse_yaml(each))))
        for name, each in (("cached", text), ("again", text), ("decoded", RECIPE))
    ]
    # Images whose shorter side is that of the cache are kept as they are.
    assert records[0].metrics == records[1].metrics == records[2].metrics
    assert [path.name for path in sorted((tmp_path / "images").glob(".decoded-36-*/*.raw"))] == ["train.raw", "val.raw"]


def test_repeated_augmentation_shows_fewer_images_more_often(tmp_path: Path, images: Path) -> None:
    text = RECIPE.replace("unmixed_epochs: 2", "unmixed_epochs: 2, repeats: 4").replace("epochs: 4", "epochs: 2")
    record = retrain(job(tmp_path, images, parse_recipe(parse_yaml(text))))
    assert record.history[0].step == 64 // 16  # as many steps as without


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_images_are_decoded_by_a_gpu(tmp_path: Path, images: Path) -> None:
    text = RECIPE.replace("source: imagenet", "source: imagenet, decoder: nvjpeg")
    asked = Job(ARCHITECTURE, parse_recipe(parse_yaml(text)), "tests", 0, tmp_path, images, device="cuda")
    record = retrain(asked)
    assert record.metrics["top1"] > 1 / 4
    assert evaluate_retrained(tmp_path, images, device="cuda")["top1"] == record.metrics["top1"]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_have_the_loss_curve_of_one_with_twice_the_parts(tmp_path: Path, images: Path) -> None:
    plain = RECIPE.replace("trivialaugment, erasing: 0.1", "none")
    curves = []
    for processes, more in ((2, ""), (1, "accumulation: 2\n")):
        chosen, out = parse_recipe(parse_yaml(plain + more)), tmp_path / str(processes)
        retrain(Job(ARCHITECTURE, chosen, "tests", 0, out, images, device="cuda"), processes=processes)
        curves.append([epoch["train_loss"] for epoch in history_of(out)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-2)  # kernels may add up in another order


def test_nvjpeg_needs_a_gpu(tmp_path: Path, images: Path) -> None:
    text = RECIPE.replace("source: imagenet", "source: imagenet, decoder: nvjpeg")
    with pytest.raises(InputError, match="`decoder: nvjpeg` needs a CUDA device"):
        retrain(job(tmp_path, images, parse_recipe(parse_yaml(text))))
