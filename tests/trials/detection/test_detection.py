"""Detectors through the engine of `nas retrain`."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from quick_recipes import detection_recipe, setting
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces import Architecture, InputError
from trials import SceneSet, draw_scene
from trials.detection.detection_recipe import DetectionRecipe
from trials.retrain.batching import Batching
from trials.retrain.job import Job
from trials.retrain.launch import retrain
from trials.retrain.record import RetrainRecord
from trials.retrain.reload import evaluate_retrained


def job(architecture: Architecture, data: Path, out: Path, recipe: DetectionRecipe | None = None) -> Job:
    return Job(architecture, recipe or detection_recipe(), "quick", 3, out, data, "cpu", workers=0)


@pytest.fixture(scope="module")
def trained(
    small: Architecture, coco_scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RetrainRecord]:
    """A training of two epochs that nothing interrupted."""
    out = tmp_path_factory.mktemp("trained")
    return out, retrain(job(small, coco_scenes, out))


def test_the_record_names_what_was_asked_for_and_what_was_built(
    trained: tuple[Path, RetrainRecord], small: Architecture
) -> None:
    out, record = trained
    assert (record.task, record.metric, record.split, record.num_train) == ("detection", "ap", "val", 12)
    assert record.architecture_id == small.id
    built = Architecture.load(out / "architecture.yaml")
    assert record.built_id == built.id != small.id
    assert (built.host.head, built.host.classes) == ("fasterrcnn", 4)
    assert [epoch.step for epoch in record.history] == [3, 6]
    assert record.history[1].train_loss < record.history[0].train_loss
    assert record.metrics["ap50"] >= record.metrics["ap"] >= 0
    assert set(record.metrics) >= {"ap", "ap50", "ap75", "ap_small"}


def test_the_weights_give_the_average_precision_that_was_recorded(
    trained: tuple[Path, RetrainRecord], coco_scenes: Path
) -> None:
    out, record = trained
    assert evaluate_retrained(out, coco_scenes, device="cpu", workers=0) == record.metrics


def test_killed_in_mid_epoch_it_ends_with_the_same_weights(
    trained: tuple[Path, RetrainRecord], small: Architecture, coco_scenes: Path, tmp_path: Path
) -> None:
    out, record = trained
    # The same recipe, for when checkpoints are written bears on nothing: here after every step.
    again = job(small, coco_scenes, tmp_path / "out", detection_recipe(checkpoint_s=0.001))
    script = "import sys; from trials.retrain.job import Job; from trials.retrain.launch import retrain; "
    script += f"import torch; torch.set_num_threads({torch.get_num_threads()}); retrain(Job.from_json(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", script, again.to_json()])
    while process.poll() is None and not list((tmp_path / "out").glob("checkpoints/step-*[1245].checkpoint")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    resumed = retrain(again)
    assert resumed.runs == 2
    assert resumed.metrics == record.metrics
    before, after = (load_file(folder / "weights.safetensors") for folder in (out, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_two_processes_learn_and_score_as_one_with_two_parts(
    small: Architecture, coco_scenes: Path, tmp_path: Path
) -> None:
    # Without batch norms that learn statistics, BAM's among them, the two are one training.
    small = Architecture(small.host, small.items[:2])
    recipe = detection_recipe(batch_norm="keep", epochs=1)
    two = retrain(job(small, coco_scenes, tmp_path / "two", recipe), processes=2)
    parts = detection_recipe(batch_norm="keep", epochs=1, accumulation=2)
    one = retrain(job(small, coco_scenes, tmp_path / "one", parts))
    assert two.history[0].train_loss == pytest.approx(one.history[0].train_loss, rel=1e-5)
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    # Three images of two processes: one has two of them, and none counts twice.
    assert evaluate_retrained(tmp_path / "two", coco_scenes, device="cpu", workers=0) == two.metrics


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("head", ["fasterrcnn", "maskrcnn", "retinanet"])
def test_on_a_gpu_it_learns_in_bf16_and_reloads_with_the_same_score(
    head: str, small: Architecture, coco_scenes: Path, tmp_path: Path
) -> None:
    recipe = detection_recipe(head=head, precision="bf16")
    record = retrain(replace(job(small, coco_scenes, tmp_path, recipe), device="cuda", workers=1))
    assert record.history[1].train_loss < record.history[0].train_loss
    again = evaluate_retrained(tmp_path, coco_scenes, device="cuda", workers=1)
    assert again == pytest.approx(record.metrics, abs=0.02)


def losses(
    recipe: DetectionRecipe, architecture: Architecture, data: Path, steps: int
) -> tuple[nn.Module, list[float]]:
    """Train for some steps without the engine."""
    task = recipe.prepare(setting(architecture, data))
    network = task.build()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.005)
    parts = Batching(recipe.batch_size, 1, 1).parts(task.order(1), 1, 0, steps, 0)
    values = []
    for batch in task.batches(parts):
        network.train()
        loss = task.loss(network, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        values.append(float(loss.detach()))
    return network, values


@pytest.mark.parametrize("head", ["maskrcnn", "retinanet", "fcos"])
def test_other_detectors_take_a_step_and_are_scored(head: str, small: Architecture, coco_scenes: Path) -> None:
    recipe = detection_recipe(head=head, batch_size=2)
    network, values = losses(recipe, small, coco_scenes, 1)
    assert np.isfinite(values).all()
    task = recipe.prepare(setting(small, coco_scenes))
    with torch.inference_mode():
        scores = task.evaluate(network.eval())
    assert task.metric.name == ("mask_ap" if head == "maskrcnn" else "ap")
    assert task.metric.name in scores
    assert all(0 <= value <= 1 for value in scores.values())


def test_what_is_frozen_stays_as_it_was(small: Architecture, coco_scenes: Path) -> None:
    recipe = detection_recipe(frozen_stages=1, batch_norm="freeze", batch_size=2)
    start = recipe.prepare(setting(small, coco_scenes)).build().state_dict()
    network, _ = losses(recipe, small, coco_scenes, 1)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, start[name])}
    assert not [name for name in changed if name.startswith(("backbone.body.conv1", "backbone.body.layer1"))]
    assert not [name for name in changed if "running" in name and ".body." in name]
    assert {"backbone.body.layer2.0.conv1.weight", "backbone.attention.layer1_0__branch.0.squeeze.weight"} <= changed


def test_voc_is_trained_on_and_scored_its_own_way(small: Architecture, voc_scenes: Path) -> None:
    recipe = detection_recipe(data={"source": "voc"}, multi_scale=[48, 64], batch_size=2)
    network, values = losses(recipe, small, voc_scenes, 1)
    assert np.isfinite(values).all()
    task = recipe.prepare(setting(small, voc_scenes))
    assert (task.num_items, task.split, task.metric.name) == (12, "test", "ap50")
    assert json.loads(task.metadata["classes"]) == ["disc", "rectangle", "triangle"]
    with torch.inference_mode():
        assert set(task.evaluate(network.eval())) == {"ap", "ap50", "ap75", "ap50_area"}


class Oracle(nn.Module):
    """Answers with what is there in the test images, in their order."""

    def __init__(self, scenes: SceneSet) -> None:
        super().__init__()
        self._answers = [draw_scene(scenes, number) for number in scenes.test_numbers]

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert [image.shape for image in images] == [(3, 64, 64)]
        scene = self._answers.pop(0)
        masks = torch.from_numpy(scene.masks)[:, None].float()
        boxes, labels = torch.from_numpy(scene.boxes), torch.from_numpy(scene.labels)
        return [{"boxes": boxes, "labels": labels, "masks": masks, "scores": torch.ones(len(labels))}]


def test_who_finds_everything_has_all_points(
    small: Architecture, coco_scenes: Path, voc_scenes: Path, scenes: SceneSet
) -> None:
    mask = detection_recipe(head="maskrcnn").prepare(setting(small, coco_scenes))
    scores = mask.evaluate(Oracle(scenes))
    assert {"ap", "mask_ap"} < scores.keys()
    assert all(value == pytest.approx(1) for value in scores.values())
    voc = detection_recipe(data={"source": "voc"}).prepare(setting(small, voc_scenes))
    assert voc.evaluate(Oracle(scenes)) == {"ap": 1, "ap50": 1, "ap75": 1, "ap50_area": 1}


def test_classes_that_do_not_fit_are_named(small: Architecture, coco_scenes: Path, tmp_path: Path) -> None:
    host = {"name": "resnet18", "width": 0.25, "input": 64, "neck": "fpn", "head": "fasterrcnn", "classes": 81}
    detector = Architecture.from_dict({"host": host})
    said = r"`classes: 81`, .*instances_train2017.json has 3 and the background; write `classes: 4`"
    with pytest.raises(InputError, match=said):
        detection_recipe().prepare(setting(detector, coco_scenes))
    shutil.copytree(coco_scenes, tmp_path / "data")
    file = tmp_path / "data/annotations/instances_val2017.json"
    file.write_text(file.read_text().replace('"disc"', '"disk"'))
    said = r"instances_val2017.json has other classes than .*train2017.json: 3 \(disk, .*\), not 3 \(disc, "
    with pytest.raises(InputError, match=said):
        detection_recipe().prepare(setting(small, tmp_path / "data"))


def test_a_damaged_image_ends_the_training_with_its_name(
    small: Architecture, coco_scenes: Path, tmp_path: Path
) -> None:
    shutil.copytree(coco_scenes, tmp_path / "data")
    path = tmp_path / "data/train2017/000000000004.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"000000000004.jpg: not a readable image, or damaged"):
        retrain(job(small, tmp_path / "data", tmp_path / "out", detection_recipe(epochs=1)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": "maskrcnn", "data": {"source": "voc"}}, "learns from masks of objects, which `source: voc` has not"),
        ({"multi_scale": [48, 96]}, r"the last of `multi_scale` must be `size` \(64\)"),
        ({"longest": 48}, "`longest` must be at least the shorter side, got 48"),
        ({"sync_batch_norm": True, "batch_norm": "keep"}, "`sync_batch_norm: true` needs `batch_norm: train`"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        detection_recipe(**changes)
