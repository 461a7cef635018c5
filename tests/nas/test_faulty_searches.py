"""Whole searches whose trials crash or hang: what is tried again, what is written down, and when a search gives up."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import nas
from nas.running.execution import MOST_ATTEMPTS, MOST_FAILURES
from reports import StudyView
from search_spaces import plugins
from search_spaces.attention import registry

MODULE = '''
import os
import time

from torch import nn

from search_spaces.attention import register


@register("faulty", kind="gate", paper="nobody")
class Faulty(nn.Module):
    """Change nothing, and break down where there are data."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x):
        if x.device.type != "meta" and os.environ.get("LOG_OF_TRIES"):
            with open(os.environ["LOG_OF_TRIES"], "a") as file:
                file.write("tried\\n")
            BREAK_DOWN
        return x
'''
EXPERIMENT = """
space:
  host: {name: resnet20, classes: 10, input: 8, channels: 1, width: 0.25}
  choices: [{at: "PLACE/branch", per: block, modules: {none: {}, faulty: {}}}]
data: {source: digits, validation: 100, training: 100}
train: {epochs: 1, batch_size: 50, lr: 0.1, warmup: 0.5}
search: {sampler: exhaustive, trials: 8, workers: 1, random_baselines: 0LIMIT}
confirm: {top: 0}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plugins that a test loads be forgotten after it."""
    monkeypatch.setattr(plugins, "_LOADED", dict(plugins._LOADED))
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


def search(folder: Path, *, fault: str, place: str, limit: str = "") -> tuple[int, str, StudyView]:
    """Search from the command line in `folder`; return its exit code, its errors, and the study."""
    (folder / f"{folder.name}_gate.py").write_text(MODULE.replace("BREAK_DOWN", fault))
    (folder / "faulty.yaml").write_text(EXPERIMENT.replace("PLACE", place).replace("LIMIT", limit))
    command = [sys.executable, "-m", "nas", "search", "faulty.yaml", "--plugins", f"{folder.name}_gate.py"]
    environment = os.environ | {
        "LOG_OF_TRIES": str(folder / "tried"),
        "PYTHONPATH": os.pathsep.join(sys.path).strip(":"),
    }
    done = subprocess.run(
        [*command, "--device", "cpu", "--study", "study"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    from search_spaces import load_plugins

    load_plugins([str(folder / f"{folder.name}_gate.py")])
    return done.returncode, done.stderr, nas.open_study(folder / "study")


def test_trials_that_always_crash_are_tried_again_twice_and_end_the_search_when_most_do(tmp_path: Path) -> None:
    status, errors, view = search(tmp_path, fault='raise OSError("a lost file")', place="layer3.*")
    failed = [trial for trial in view.search if trial.state == "failed"]
    assert status == 2
    assert f"stopped: {MOST_FAILURES + 1} trials failed and 1 succeeded. The last failure:" in errors
    assert "a lost file" in errors
    assert len(failed) == MOST_FAILURES + 1
    assert len((tmp_path / "tried").read_text().split()) == MOST_ATTEMPTS * len(failed)
    for trial in failed:
        assert trial.record is not None
        assert (trial.record.failure, trial.record.retryable) == ("crash", True)
        assert trial.record.traceback is not None
        assert "in forward" in trial.record.traceback
    assert Counter(trial.state for trial in view.search)["running"] == 0


@pytest.mark.slow
def test_a_trial_that_hangs_fails_once_and_says_where_and_the_search_goes_on(tmp_path: Path) -> None:
    status, errors, view = search(
        tmp_path, fault="time.sleep(600)", place="layer3.0", limit=", time_limit: 20"
    )  # of which a worker's first training, with all that it imports, takes a part
    assert status == 0, errors
    states = {trial.label: trial for trial in view.search}
    assert states["host"].state == "complete"
    record = states["faulty everywhere"].record
    assert record is not None
    assert (record.status, record.failure, record.reason) == ("failed", "time", "ran past its time limit of 20 s")
    assert record.traceback is not None
    assert "in forward" in record.traceback
    assert (tmp_path / "tried").read_text().split() == ["tried"]
