"""A training that is killed, stopped, or finds a damaged checkpoint, and what it comes to."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_task import forked, history_of, run_here, run_joined_toy, toy_job

from search_spaces import InputError
from trials.failure import DivergedError
from trials.retrain import RetrainEpoch, RetrainRecord, StoppedTrainingError, read_record
from trials.retrain.learner import Learner


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "weights.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def slowed(job: Any) -> None:
    """Train with steps that take long enough to be killed in."""
    learn = Learner.step

    def slow(self: Learner, *arguments: Any) -> torch.Tensor:
        time.sleep(0.01)
        return learn(self, *arguments)

    Learner.step = slow  # type: ignore[method-assign]
    run_here(job)


def newest(out: Path) -> str:
    return max((path.name for path in (out / "checkpoints").glob("step-*")), default="")


def test_a_training_killed_five_times_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    job, rng = toy_job(tmp_path / "killed", epochs=10), random.Random(0)
    for _ in range(5):
        before, process = newest(job.out), forked(slowed, job)
        while newest(job.out) == before and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (job.out / "record.json").exists()
    record = run_here(job)
    straight = run_here(toy_job(tmp_path / "straight", epochs=10))
    assert_same_weights(job.out, tmp_path / "straight")
    assert record.runs == 6
    assert record.metrics == straight.metrics
    assert [epoch.train_loss for epoch in record.history] == [epoch.train_loss for epoch in straight.history]


def test_two_processes_that_are_killed_end_with_the_weights_of_two_that_were_not(tmp_path: Path) -> None:
    for name, kills in (("killed", (9, 14, 0)), ("straight", (0,))):
        job = toy_job(tmp_path / name)
        for number, killed_at in enumerate(kills):
            store = tmp_path / f"{name}-{number}"
            processes = [forked(run_joined_toy, job, rank, 2, store, killed_at) for rank in range(2)]
            for process in processes:
                process.join()
            assert {process.exitcode for process in processes} == {-signal.SIGKILL if killed_at else 0}
    assert read_record(tmp_path / "killed").runs == 3
    assert_same_weights(tmp_path / "killed", tmp_path / "straight")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_training_which_goes_on_at_the_next_step(tmp_path: Path, number: signal.Signals) -> None:
    job, steps = toy_job(tmp_path / "stopped", checkpoint_s=1e9), 0
    learn = Learner.step

    def signalled(self: Learner, *arguments: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 8:
            os.kill(os.getpid(), number)
        return learn(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", signalled)
        with pytest.raises(StoppedTrainingError, match=r"stopped in epoch 2 of 6, step 2 of 6; the same command goes"):
            run_here(job)
        assert steps == 8
        run_here(job)
    assert steps == 6 * 6  # 36 in both runs together: none is repeated
    run_here(toy_job(tmp_path / "straight"))
    assert_same_weights(job.out, tmp_path / "straight")


def stop_after(epoch: int) -> Any:
    def on_epoch(result: RetrainEpoch) -> None:
        if result.epoch == epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_epoch


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it_with_a_warning(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "damaged")
    with pytest.raises(StoppedTrainingError):
        run_here(job, on_epoch=stop_after(2))
    path = job.out / "checkpoints" / newest(job.out)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    record = run_here(job)
    assert [text for text in record.warnings if path.name in text and "is damaged" in text]
    run_here(toy_job(tmp_path / "straight"))
    assert_same_weights(job.out, tmp_path / "straight")


def test_as_many_checkpoints_stay_as_the_recipe_keeps_and_none_in_the_end(tmp_path: Path) -> None:
    job, seen = toy_job(tmp_path, keep=3), []
    run_here(job, on_epoch=lambda _: seen.append(len(list((tmp_path / "checkpoints").iterdir()))))
    assert seen == [3] * 6
    assert not (tmp_path / "checkpoints").exists()


def test_more_processes_take_up_what_fewer_left_and_the_record_says_so(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "job")
    with pytest.raises(StoppedTrainingError):
        run_here(job, on_epoch=stop_after(2))
    processes = [forked(run_joined_toy, job, rank, 2, tmp_path / "store", 0) for rank in range(2)]
    for process in processes:
        process.join()
    record = read_record(job.out)
    assert (record.processes, len(record.history)) == (2, 6)
    assert "with 2 processes instead of another number" in record.warnings[0]


def test_the_folder_of_another_training_is_refused_by_what_differs(tmp_path: Path) -> None:
    with pytest.raises(StoppedTrainingError):
        run_here(toy_job(tmp_path / "out"), on_epoch=stop_after(1))
    with pytest.raises(InputError, match=r"holds a training of another recipe; give another --out"):
        run_here(toy_job(tmp_path / "out", epochs=7))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="is not empty, and not the folder of a retraining"):
        run_here(toy_job(tmp_path / "foreign"))


def test_a_second_training_in_the_same_folder_is_kept_out(tmp_path: Path) -> None:
    job, refused = toy_job(tmp_path), []

    def again(_: RetrainEpoch) -> None:
        process = forked(refuse, job)
        process.join()
        refused.append(process.exitcode)

    run_here(job, on_epoch=again)
    assert refused == [7] * 6


def refuse(job: Any) -> None:
    try:
        run_here(job)
    except InputError as error:
        os._exit(7 if "another process is training here" in str(error) else 1)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    record = run_here(toy_job(tmp_path))
    assert run_here(toy_job(tmp_path), on_epoch=lambda _: pytest.fail("an epoch was trained")) == record


def test_a_record_comes_back_from_its_file_and_another_schema_is_refused(tmp_path: Path) -> None:
    record = run_here(toy_job(tmp_path))
    assert read_record(tmp_path) == record
    assert record.score == record.metrics["accuracy"] == record.history[-1].metrics["accuracy"]
    with pytest.raises(InputError, match="has schema 99; this version reads 1"):
        RetrainRecord.from_dict(record.to_dict() | {"schema": 99})
    with pytest.raises(InputError, match="lacks or does not know: colour"):
        RetrainRecord.from_dict(record.to_dict() | {"colour": 1})
    with pytest.raises(InputError, match="holds no finished retraining"):
        read_record(tmp_path / "checkpoints")


def test_a_network_is_scored_as_often_as_the_recipe_says_and_after_the_last_epoch(tmp_path: Path) -> None:
    record = run_here(toy_job(tmp_path, evaluate_every=4))
    assert [epoch.metrics is not None for epoch in record.history] == [False, False, False, True, False, True]


def test_iterations_may_end_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    record = run_here(toy_job(tmp_path, epochs=None, iterations=8, schedule={"warmup_iterations": 2}))
    assert [epoch.step for epoch in record.history] == [6, 8]  # 6 steps in an epoch
    with pytest.raises(InputError, match="the warm-up of 9 steps must be shorter than the training's 8"):
        run_here(toy_job(tmp_path / "2", epochs=None, iterations=8, schedule={"warmup_iterations": 9}))


def test_a_loss_that_is_not_finite_ends_the_training_with_what_may_help(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"in epoch \d of 6, .* with a learning rate of .*; a lower `lr`"):
        run_here(toy_job(tmp_path, optimizer={"lr": 1e30}))


def test_memory_that_runs_out_is_answered_with_a_larger_accumulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "step", full)
    with pytest.raises(InputError, match=r"out of memory on cpu with 8 images at a time: give --accumulation 2"):
        run_here(toy_job(tmp_path))


def test_epochs_are_written_as_they_come(tmp_path: Path) -> None:
    seen = []
    run_here(toy_job(tmp_path), on_epoch=lambda result: seen.append(len(history_of(tmp_path)) == result.epoch))
    assert seen == [True] * 6
