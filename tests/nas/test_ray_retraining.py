"""A full training on Ray: the same network as torchrun's processes train, whatever dies on the way."""

import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest

from nas import ray_cluster
from nas.ray_cluster import RaySettings
from search_spaces import Architecture, InputError
from search_spaces.yaml_files import parse_yaml
from trials.retrain import Job, load_retrained, retrain
from trials.retrain.recipes import parse_recipe

pytest.importorskip("ray", reason="Ray is not installed")

ARCHITECTURE = Architecture.from_dict(
    {"host": {"name": "resnet20", "input": 8, "channels": 1}, "placement": {"layer3.*/branch": {"module": "se"}}}
)
RECIPE = """
task: classification
source: made for tests
epochs: 3
batch_size: 100
optimizer: {lr: 0.1}
precision: fp32
checkpoint_s: 0.2
data: {source: digits}
"""


def job(out: Path, recipe: str = RECIPE, architecture: Architecture = ARCHITECTURE) -> Job:
    return Job(architecture, parse_recipe(parse_yaml(recipe)), "digits", 0, out, device="cpu", workers=0)


def training_processes() -> list[int]:
    """Return the processes on this machine that Ray Train trains in, of this user."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RayTrainWorker"):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def kill_one_after_a_checkpoint(out: Path) -> None:
    while not list(out.glob("checkpoints/step-*")):
        time.sleep(0.02)
    os.kill(training_processes()[-1], signal.SIGKILL)


@pytest.mark.slow
def test_workers_of_a_cluster_train_what_torchruns_processes_do_although_one_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    killer = Thread(target=kill_one_after_a_checkpoint, args=(tmp_path / "ray",))
    killer.start()
    on_ray = ray_cluster.retrain(job(tmp_path / "ray"), RaySettings(), 2, said.append)
    killer.join()
    here = retrain(job(tmp_path / "here"), processes=2)
    assert (on_ray.processes, on_ray.metrics) == (2, here.metrics)
    assert on_ray.runs > 1
    ours, theirs = (load_retrained(tmp_path / name).state_dict() for name in ("ray", "here"))
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert [line.partition(":")[0] for line in said] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert {path.name for path in tmp_path.iterdir()} == {"ray", "here"}


@pytest.mark.slow
def test_a_mistake_of_the_users_is_said_once_and_not_tried_again(tmp_path: Path) -> None:
    wrong = Architecture.from_dict({"host": {"name": "resnet20", "input": 32}, "placement": {}})
    with pytest.raises(InputError, match="the host resnet20 has `channels: 3`"):
        ray_cluster.retrain(job(tmp_path / "out", architecture=wrong), RaySettings(), 1, lambda _: None)
