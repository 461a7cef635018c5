"""Steps of the learner against the same arithmetic by hand, and the digits by a recipe in memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_task import ToyRecipe, ToyTask, toy_job

from search_spaces import Architecture, InputError
from search_spaces.yaml_files import parse_yaml
from trials.retrain import Job, Place, evaluate_retrained, retrain
from trials.retrain.batching import Batching
from trials.retrain.learner import Learner
from trials.retrain.recipes import parse_recipe
from trials.retrain.task import Setting

HERE = Place(torch.device("cpu"))
DIGITS = """
task: classification
source: made for tests
epochs: 2
batch_size: 64
optimizer: {lr: 0.1, nesterov: true, norm_weight_decay: false, attention_lr: 2.0}
schedule: {warmup: 0.5}
precision: fp32
data: {source: digits, cutout: 2}
"""
ARCHITECTURE = Architecture.from_dict(
    {
        "host": {"name": "resnet20", "classes": 10, "input": 8, "channels": 1},
        "placement": {"layer3.*/out": {"module": "se"}},
    }
)


def toy(**changed: Any) -> tuple[ToyTask, ToyRecipe]:
    recipe = toy_job(Path("unused"), dropout=0.0, ema=None, **changed).recipe
    assert isinstance(recipe, ToyRecipe)
    return ToyTask(recipe, Setting(ARCHITECTURE, 0, HERE, "fp32")), recipe


def first_batch(task: ToyTask, accumulation: int) -> list[Any]:
    return list(task.batches(Batching(8, 1, accumulation).parts(task.order(1), 1, 0, 1, 0)))


def learner(model: nn.Module, task: ToyTask, recipe: ToyRecipe) -> Learner:
    return Learner(model, task, recipe, HERE, "fp32")


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_step_is_that_of_sgd_on_the_mean_loss_of_the_parts(accumulation: int) -> None:
    task, recipe = toy(optimizer={"lr": 0.5, "momentum": 0.0, "weight_decay": 0.0})
    model, by_hand = task.build(), task.build()
    parts = first_batch(task, accumulation)
    loss = learner(model, task, recipe).step(parts, accumulation, 0.5)
    mean = torch.stack([task.loss(by_hand, part) for part in parts]).mean()
    mean.backward()
    assert float(loss) == pytest.approx(mean.item())
    with torch.no_grad():
        for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
            assert theirs.grad is not None
            assert torch.allclose(ours, theirs - 0.5 * theirs.grad, atol=1e-6)


def test_gradients_are_clipped_to_their_norm() -> None:
    task, recipe = toy(optimizer={"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 0.01})
    model, before = task.build(), task.build()
    learner(model, task, recipe).step(first_batch(task, 1), 1, 1.0)
    moved = [(ours - theirs).detach() for ours, theirs in zip(model.parameters(), before.parameters(), strict=True)]
    assert float(torch.cat([each.flatten() for each in moved]).norm()) == pytest.approx(0.01, rel=1e-3)


def test_adagrad_is_a_choice() -> None:
    task, recipe = toy(optimizer={"kind": "adagrad", "lr": 0.1, "weight_decay": 0.0})
    model, before = task.build(), task.build()
    learner(model, task, recipe).step(first_batch(task, 1), 1, 0.1)
    weight, old = model.get_parameter("5.bias"), before.get_parameter("5.bias")
    assert (weight - old).abs().tolist() == pytest.approx([0.1] * 3, rel=1e-3)  # its first step is lr * sign


def test_batch_norms_of_several_devices_need_devices() -> None:
    task, recipe = toy(sync_batch_norm=True)
    with pytest.raises(InputError, match="`sync_batch_norm: true` needs CUDA devices"):
        learner(task.build(), task, recipe)


def test_digits_are_learnt_from_memory_and_scored_again_the_same(tmp_path: Path) -> None:
    job = Job(ARCHITECTURE, parse_recipe(parse_yaml(DIGITS)), "digits", 3, tmp_path, device="cpu")
    record = retrain(job)
    assert record.metrics == record.history[-1].metrics
    assert record.split == "test"
    assert record.metrics["top1"] > 0.3  # chance is a tenth
    assert evaluate_retrained(tmp_path, device="cpu") == record.metrics


def test_images_in_memory_refuse_what_is_for_images_on_disk(tmp_path: Path) -> None:
    for text, message in (
        ("augment: {repeats: 2}", "`repeats` and `erasing` are for images on disk"),
        ("augment: {policy: randaugment}", "these are grey"),
    ):
        recipe = parse_recipe(parse_yaml(DIGITS + text))
        with pytest.raises(InputError, match=message):
            retrain(Job(ARCHITECTURE, recipe, "digits", 0, tmp_path, device="cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("more", ["", "compile: true\n", "precision: bf16\n"])
def test_digits_are_learnt_on_a_gpu(tmp_path: Path, more: str) -> None:
    text = DIGITS.replace("precision: fp32\n", "") + more
    record = retrain(Job(ARCHITECTURE, parse_recipe(parse_yaml(text)), "digits", 3, tmp_path, device="cuda"))
    assert record.metrics["top1"] > 0.3
    assert evaluate_retrained(tmp_path, device="cuda")["top1"] == record.metrics["top1"]
