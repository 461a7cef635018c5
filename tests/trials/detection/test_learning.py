"""Detectors and segmentations learn a few scenes by heart: the whole path from file to score must be right for it."""

from pathlib import Path

import pytest
from quick_recipes import detection_recipe, segmentation_recipe, setting

from search_spaces import Architecture
from trials import SceneSet
from trials.detection.scene_folders import write_scenes
from trials.retrain.batching import Batching
from trials.retrain.learner import Learner
from trials.retrain.recipe import Recipe
from trials.retrain.schedule import lr_share
from trials.retrain.scoring import score
from trials.retrain.task import Setting


@pytest.fixture(scope="module")
def resnet20() -> Architecture:
    """A host whose anchors are as large as the shapes."""
    return Architecture.from_dict({"host": {"name": "resnet20", "input": 32}})


def learnt_by_heart(recipe: Recipe, here: Setting) -> dict[str, float]:
    """Return the scores after so many epochs of one step, without the engine's checkpoints in between."""
    task = recipe.prepare(here)
    learner = Learner(task.build(), task, recipe, here.place, here.precision)
    batching, num_steps = Batching(recipe.batch_size, 1, 1), recipe.epochs or 0
    for step in range(num_steps):
        parts = batching.parts(task.order(step + 1), step + 1, 0, 1, 0)
        lr = recipe.optimizer.lr * lr_share(step, num_steps, 1, recipe.schedule)
        learner.step(task.batches(parts), 1, lr)
    return score(task, learner.scored, here.place, here.precision)


def test_a_detector_learns_two_scenes_by_heart(resnet20: Architecture, tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    write_scenes(SceneSet(num_images=2, size=32, num_shapes=2, seed=0), tmp_path / "coco", "coco")
    learnt = {"val_images": "train2017", "val_annotations": "annotations/instances_train2017.json"}
    recipe = detection_recipe(
        data={"source": "coco", **learnt}, size=32, longest=32, batch_size=2, flip=0, epochs=120,
        optimizer={"lr": 0.02, "clip_norm": 10}, schedule={"warmup": 20},
    )  # fmt: skip
    # With boxes, classes, anchors or sizes that do not match, next to nothing is found.
    assert learnt_by_heart(recipe, setting(resnet20, tmp_path / "coco"))["ap50"] > 0.7


def test_a_segmentation_learns_five_scenes_by_heart(resnet20: Architecture, tmp_path: Path) -> None:
    write_scenes(SceneSet(num_images=10, size=32, num_shapes=2, seed=0), tmp_path / "voc", "voc")
    sets = {"source": "voc", "train": ["2007/trainval"], "val": "2007/trainval"}
    recipe = segmentation_recipe(
        data=sets, size=32, scale=[1, 1], flip=0, batch_size=5, epochs=50,
        optimizer={"lr": 0.05, "clip_norm": 5}, schedule={"warmup": 10},
    )  # fmt: skip
    # The background alone is 1/3 at most.
    assert learnt_by_heart(recipe, setting(resnet20, tmp_path / "voc"))["miou"] > 0.8
