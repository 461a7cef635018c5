"""Trainings that hang, devices that fail, workers that die: how each is told, and what is left of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from nas.running.local_pool import Crashed, Event, LocalPool, Progress, WorkerBrokenError
from nas.running.time_limit import MOST_FRAMES, hang_log_path, read_hang
from nas.running.work import Task, record_of_death, run_task
from search_spaces import Architecture
from trials import DataConfig, TrainConfig, TrialConfig, TrialRecord

ARCHITECTURE = Architecture.from_dict(
    {"host": {"name": "resnet20", "classes": 10, "channels": 1, "input": 8}, "placement": {}}
)
CONFIG = TrialConfig(
    data=DataConfig(source="digits", validation=100, training=64),
    train=TrainConfig(epochs=1, batch_size=32, lr=0.1, warmup=0),
    device="cpu",
)


def make_task(folder: Path, **more: Any) -> Task:
    log = hang_log_path(folder, ARCHITECTURE, 0).relative_to(folder)
    task = Task(ARCHITECTURE.to_dict(), CONFIG.model_dump(), 0, folder=str(folder), weights="", hang_log=str(log))
    return replace(task, **more)


def log_of(task: Task) -> Path:
    log = task.place(task.hang_log)
    assert log is not None
    return log


def end_of(function: str, task: Task) -> Event:
    """Let a worker compute a task, and return how it ended."""
    with LocalPool[Task, Any](1, function) as pool:
        pool.submit(0, task)
        while True:
            for event in pool.wait(timeout=60):
                if not isinstance(event, Progress):
                    return event


def test_a_training_that_hangs_in_an_extension_says_where_and_fails_for_good(tmp_path: Path) -> None:
    hung = make_task(tmp_path, time_limit=3.0)
    crashed = end_of("hang_tasks:hang", hung)
    assert isinstance(crashed, Crashed)
    assert "ended with exit code 1" in crashed.reason
    record = record_of_death(hung, crashed.reason, attempts=1)
    assert (record.status, record.failure, record.retryable) == ("failed", "time", False)
    assert record.reason == "ran past its time limit of 3 s"
    assert record.traceback is not None
    assert "in hold_the_lock" in record.traceback
    assert (record.epochs, record.architecture_hash) == (1, ARCHITECTURE.hash)
    assert list(log_of(hung).parent.iterdir()) == []


def test_why_a_training_hung_is_told_once(tmp_path: Path) -> None:
    task = make_task(tmp_path, time_limit=2.5)
    log_of(task).parent.mkdir()
    frames = [f'  File "f.py", line {i} in g{i}' for i in range(MOST_FRAMES + 5)]
    log_of(task).write_text("\n".join(["Timeout (0:00:02)!", "Thread 0x1 (most recent call first):", *frames]))
    record = record_of_death(task, "its worker process ended with exit code 1", attempts=1)
    assert (record.reason, record.failure) == ("ran past its time limit of 2.5 s", "time")
    assert record.traceback is not None
    thread, *told = record.traceback.splitlines()
    assert thread.startswith("Thread 0x1")
    assert told == [*frames[:MOST_FRAMES], "  ..."]
    assert record_of_death(task, "its worker process ended with exit code 1", attempts=1).failure == "worker"


def test_a_training_that_hung_on_another_machine_is_known_by_its_time(tmp_path: Path) -> None:
    task = make_task(tmp_path, time_limit=2.5)
    assert record_of_death(task, "the actor died", attempts=1, seconds=2.6).failure == "time"
    assert record_of_death(task, "the actor died", attempts=1, seconds=2.4).failure == "worker"
    unlimited = replace(task, time_limit=None)
    assert record_of_death(unlimited, "the actor died", attempts=1, seconds=1e6).failure == "worker"


def test_a_training_within_its_limit_leaves_nothing_behind(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    record = TrialRecord.from_dict(run_task(make_task(tmp_path, time_limit=600.0), seen.append))
    assert record.status == "complete"
    assert len(seen) == 1
    assert list((tmp_path / "hangs").iterdir()) == []


def test_an_empty_log_is_of_a_worker_that_was_killed_and_not_of_a_hang(tmp_path: Path) -> None:
    log = tmp_path / "a.txt"
    log.touch()
    assert read_hang(log) is None
    assert not log.exists()


def test_a_log_that_cannot_be_written_keeps_no_training_from_running(tmp_path: Path) -> None:
    (tmp_path / "hangs").write_text("in the way of the folder")
    record = TrialRecord.from_dict(run_task(make_task(tmp_path, time_limit=600.0), lambda _: None))
    assert record.status == "complete"


def test_a_failing_accelerator_is_raised_so_that_its_worker_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(nn.Conv2d, "forward", fail)
    with pytest.raises(WorkerBrokenError, match="CUDA error") as caught:
        run_task(make_task(tmp_path), lambda _: None)
    line, _, traceback = str(caught.value).partition("\n")
    assert line == "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert "in fail" in traceback
    record = record_of_death(make_task(tmp_path), str(caught.value), attempts=3)
    assert record.reason == f"the worker died 3 times: {line}"
    assert (record.failure, record.retryable, record.traceback) == ("worker", True, traceback.rstrip("\n"))


def test_a_mistake_of_the_user_is_a_record_that_no_retry_mends(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"data": DataConfig(source="digits", validation=100_000)})
    record = TrialRecord.from_dict(run_task(make_task(tmp_path, config=config.model_dump()), lambda _: None))
    assert (record.status, record.failure, record.retryable) == ("failed", "input", False)
    assert record.reason is not None
    assert "validation: 100000" in record.reason


def test_what_a_worker_raises_is_a_crash_that_is_told_in_one_line_with_its_traceback(tmp_path: Path) -> None:
    text = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nOSError: the disk is gone\n'
    record = record_of_death(make_task(tmp_path), text, attempts=2)
    assert record.reason == "failed 2 times: OSError: the disk is gone"
    assert (record.failure, record.retryable, record.traceback) == ("crash", True, text)
    killed = record_of_death(make_task(tmp_path), "its worker process was killed by SIGKILL", attempts=1)
    assert (killed.failure, killed.traceback) == ("worker", None)
