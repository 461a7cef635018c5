"""What a training gets over, and what it fails of: memory that runs out, a full disk, errors of each kind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import Architecture, InputError
from trials import DataConfig, TrainConfig, TrialConfig, TrialRecord, run_trial
from trials.checkpoint import CheckpointFile
from trials.failure import MOST_CHARACTERS, DivergedError, failure_of, traceback_of
from trials.record import EpochResult

HOST = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
FULL = "tried to allocate 9 GiB"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Greedy(Architecture):
    """Builds a network that runs out of memory on more than so many images at a time, from its n-th step on."""

    most: int
    most_eval: int
    after_steps: int

    def build(self, seed: int = 0) -> nn.Module:
        model, steps = super().build(seed), [0]

        def check(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            steps[0] += module.training
            most = self.most if module.training else self.most_eval
            if len(inputs[0]) > most and steps[0] > self.after_steps:
                raise torch.OutOfMemoryError(FULL)

        model.register_forward_pre_hook(check)
        return model


def greedy(most: int, most_eval: int = 1000, after_steps: int = 0) -> Greedy:
    architecture = Greedy(Architecture.from_dict({"host": HOST, "placement": {}}).host)
    for name, value in (("most", most), ("most_eval", most_eval), ("after_steps", after_steps)):
        object.__setattr__(architecture, name, value)
    return architecture


def configured(**train: object) -> TrialConfig:
    recipe: dict[str, Any] = {"epochs": 2, "batch_size": 50, "lr": 0.1, "precision": "fp32", "mixup": 0.2, **train}
    data = DataConfig(source="digits", validation=100, training=100)
    return TrialConfig(data=data, train=TrainConfig.model_validate(recipe), device="cpu")


def found(record: TrialRecord) -> tuple[object, ...]:
    """Return what must be equal to the bit, without times."""
    assert record.status == "complete", record.reason
    return record.accuracy, record.loss, tuple(replace(result, wall_s=0.0) for result in record.history)


def test_memory_that_runs_out_is_answered_with_halves_of_each_batch() -> None:
    record = run_trial(greedy(most=25), configured(), 3)
    assert record.accumulation == 2
    assert len(record.warnings) == 1
    assert f"out of memory on cpu: {FULL}: trained again in 2 parts of each batch, 25" in record.warnings[0]
    asked = run_trial(greedy(most=1000), configured(accumulation=2), 3)
    assert found(record) == found(asked)
    assert (asked.accumulation, asked.warnings) == (2, ())


def test_the_second_attempt_goes_on_from_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.trial.KEEP_EVERY_S", 0.0)
    seen: list[EpochResult] = []
    architecture = greedy(most=25, after_steps=2)  # an epoch has two steps
    record = run_trial(architecture, configured(epochs=3), 3, on_epoch=seen.append, checkpoint=tmp_path / "a.pt")
    assert (record.status, record.accumulation, record.first_epoch) == ("complete", 2, 2)
    assert [result.epoch for result in seen] == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []


def test_memory_that_does_not_suffice_for_halves_either_fails_for_good() -> None:
    record = run_trial(greedy(most=24), configured(), 3)
    assert (record.status, record.failure, record.retryable) == ("failed", "memory", False)
    assert record.reason == f"out of memory on cpu: {FULL}, even with micro-batches of 25"
    assert record.traceback is not None
    assert record.accumulation == 2


def test_an_evaluation_that_runs_out_of_memory_halves_its_own_batches_only() -> None:
    record = run_trial(greedy(most=1000, most_eval=50), configured(), 3)  # 100 at a time otherwise
    assert (record.accumulation, record.warnings) == (1, ())
    plain = run_trial(greedy(most=1000), configured(), 3)
    assert [result.train_loss for result in record.history] == [result.train_loss for result in plain.history]
    assert record.loss == pytest.approx(plain.loss, rel=1e-5)


class Broken(Exception):  # noqa: N818 - stands for any
    """An error of no known kind."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("no such key"), "input"),
        (DivergedError("the loss was nan"), "diverged"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "crash"),
        (ValueError("CUDA error, as it were"), "crash"),
        (FileNotFoundError("train/0.png"), "crash"),
        (Broken(), "crash"),
    ],
)
def test_each_error_is_of_one_kind(error: Exception, expected: str) -> None:
    assert failure_of(error) == expected


def test_an_error_of_the_accelerator_is_known_by_its_type_where_torch_has_one() -> None:
    error = getattr(torch, "AcceleratorError", None)
    if error is None:
        pytest.skip("this torch has no AcceleratorError")
    assert failure_of(error("the device is gone")) == "device"


def test_a_traceback_that_is_too_long_keeps_its_two_ends() -> None:
    error = ValueError("a" * 3 * MOST_CHARACTERS + " the end")
    error.add_note("last line")
    text = traceback_of(error)
    assert len(text) < MOST_CHARACTERS + 100
    assert text.startswith("ValueError: aaa")
    assert text.endswith("the end\nlast line\n")


# A full disk


def test_a_disk_that_is_full_for_checkpoints_and_weights_costs_neither_the_trial_nor_the_state_before(
    tmp_path: Path,
) -> None:
    """In a process whose files may not grow beyond 64 KiB: it writes so much, then the system refuses."""
    script = f"""
import json, resource, signal, sys
from pathlib import Path
import torch
from trials.checkpoint import CheckpointFile
from trials import TrialConfig, run_trial
from search_spaces import Architecture
import trials.trial
torch.set_num_threads(1)
folder = Path(sys.argv[1])
trials.trial.KEEP_EVERY_S = 0.0
architecture = Architecture.from_dict({{"host": {HOST!r}, "placement": {{}}}})
CheckpointFile(folder / "a.pt").write("it", 7, {{"kept": 1}})
config = TrialConfig.model_validate(json.loads(sys.argv[2]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
record = run_trial(architecture, config, 3, weights=folder / "w.safetensors", checkpoint=folder / "a.pt")
print(json.dumps(record.to_dict()))
"""
    config = configured(schedule="wsd", epochs=4).model_dump_json()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), config], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    record = TrialRecord.from_dict(json.loads(done.stdout.splitlines()[-1]))
    assert found(record) == found(run_trial(greedy(most=1000), configured(schedule="wsd", epochs=4), 3))
    checkpoint, weights = record.warnings  # the checkpoint's once, though each epoch tried
    assert checkpoint == "no checkpoint could be written, and the training went on without: File too large"
    assert weights.startswith("the trained weights could not be written: ")
    kept = CheckpointFile(tmp_path / "a.pt").read("it")
    assert kept is not None
    assert (kept.epoch, kept.state) == (7, {"kept": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_without_space_leaves_the_checkpoint_before_and_nothing_half_written(tiny_disk: Path) -> None:
    file = CheckpointFile(tiny_disk / "a.pt")
    file.write("it", 1, {"weights": torch.ones(100_000)})  # 400 kB
    with pytest.raises(OSError, match="No space left on device"):
        file.write("it", 2, {"weights": torch.ones(200_000)})
    kept = file.read("it")
    assert kept is not None
    assert (kept.epoch, len(kept.state["weights"])) == (1, 100_000)
    assert [path.name for path in tiny_disk.iterdir()] == ["a.pt"]
    record = run_trial(greedy(most=1000), configured(epochs=1), 3, weights=tiny_disk / "w.safetensors")  # 1.1 MB
    assert record.status == "complete"
    assert record.warnings[0].startswith("the trained weights could not be written: ")
    assert "No space left on device" in record.warnings[0]
    assert [path.name for path in tiny_disk.iterdir()] == ["a.pt"]


def test_bytes_and_folder_are_on_the_disk_before_a_write_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, bool]] = []
    path = tmp_path / "a.pt"

    def note(handle: int) -> None:
        flushed.append((os.fstat(handle).st_ino, path.exists()))

    monkeypatch.setattr("os.fsync", note)
    CheckpointFile(path).write("it", 1, {})
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize("cut", [0, 1, 70, 5000])
def test_a_damaged_checkpoint_is_told_of_and_the_training_starts_from_scratch(tmp_path: Path, cut: int) -> None:
    config = configured(schedule="wsd")
    run_trial(greedy(most=1000), config, 3, checkpoint=tmp_path / "a.pt")
    path = tmp_path / "a.pt"
    path.write_bytes(path.read_bytes()[:cut])
    again = run_trial(greedy(most=1000), config, 3, checkpoint=path)
    assert again.first_epoch == 1
    assert again.warnings == (f"{path} is damaged; the training does not go on from it",)
    whole = run_trial(greedy(most=1000), configured(schedule="wsd", epochs=3), 3, checkpoint=path)
    assert (whole.first_epoch, whole.warnings) == (2, ())
