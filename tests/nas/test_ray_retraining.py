"""A full training on Ray: the same network as torchrun's processes train, whatever dies on the way."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

import nas
from nas import open_study
from nas.ray_cluster import RaySettings, make_training
from reports.front.summary import best_summary
from search_spaces import Architecture, InputError
from search_spaces.yaml_files import parse_yaml
from trials.retrain import Job, StoppedTrainingError, load_retrained, retrain
from trials.retrain.recipes import parse_recipe

ray = pytest.importorskip("ray", reason="Ray is not installed")

ARCHITECTURE = Architecture.from_dict(
    {"host": {"name": "resnet20", "input": 8, "channels": 1}, "placement": {"layer3.*/branch": {"module": "se"}}}
)
RECIPE = """
task: classification
source: made for tests
epochs: 5
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


def newest(out: Path) -> str:
    return max((path.name for path in out.glob("checkpoints/step-*")), default="")


@contextmanager
def after_the_next_checkpoint(out: Path, act: Callable[[], None]) -> Iterator[None]:
    """Do something once a checkpoint is written within the block."""
    before = newest(out)

    def wait() -> None:
        while newest(out) <= before:
            time.sleep(0.02)
        act()

    thread = Thread(target=wait)
    thread.start()
    yield
    thread.join()


@pytest.mark.slow
def test_workers_train_what_torchruns_processes_do_although_stopped_by_ctrl_c_and_one_killed(tmp_path: Path) -> None:
    said: list[str] = []
    asked, handler = job(tmp_path / "ray"), signal.getsignal(signal.SIGINT)
    with (
        after_the_next_checkpoint(asked.out, lambda: os.kill(os.getpid(), signal.SIGINT)),
        make_training(RaySettings(), 2, said.append) as train,
        pytest.raises(StoppedTrainingError, match="the same command goes on from the newest checkpoint"),
    ):
        train(asked)
    assert signal.getsignal(signal.SIGINT) == handler
    with (
        after_the_next_checkpoint(asked.out, lambda: os.kill(training_processes()[-1], signal.SIGKILL)),
        make_training(RaySettings(), 2, said.append) as train,
    ):
        on_ray = train(asked)
    here = retrain(job(tmp_path / "here"), processes=2)
    assert (on_ray.processes, on_ray.metrics) == (2, here.metrics)
    assert on_ray.runs == 3
    ours, theirs = (load_retrained(tmp_path / name).state_dict() for name in ("ray", "here"))
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert [line.partition(":")[0] for line in said] == [f"epoch {number}/5" for number in range(1, 6)]
    assert {path.name for path in tmp_path.iterdir()} == {"ray", "here"}


@pytest.mark.slow
def test_a_mistake_of_the_users_is_said_once_and_not_tried_again(tmp_path: Path) -> None:
    wrong = Architecture.from_dict({"host": {"name": "resnet20", "input": 32}, "placement": {}})
    with (
        make_training(RaySettings(), 1, lambda _: None) as train,
        pytest.raises(InputError, match="the host resnet20 has `channels: 3`"),
    ):
        train(job(tmp_path / "out", architecture=wrong))


@pytest.mark.slow
def test_the_command_trains_a_studys_winners_on_one_cluster(finished: nas.Outcome, run, tmp_path: Path) -> None:
    study = shutil.copytree(finished.folder, tmp_path / "study")
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(RECIPE.replace("epochs: 5", "epochs: 1"))
    picks = [
        option for item in best_summary(open_study(study)).items[:2] for option in ("--pick", item.architecture.id)
    ]
    status, out, errors = run("retrain", study, recipe, *picks, "--executor", "ray", "--device", "cpu", "--json")
    assert status == 0, errors
    records = json.loads(out)
    assert [each.record.to_dict() for each in open_study(study).retrained] == [
        {name: value for name, value in record.items() if name != "of"} for record in records
    ]
    assert len({record["of"] for record in records}) == 2
    assert not ray.is_initialized()
