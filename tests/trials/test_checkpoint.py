"""Trainings that go on from each other's stable epochs: the same bits as from scratch, and never from a wrong file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import Architecture
from trials import DataConfig, TrainConfig, TrialConfig, run_trial
from trials.checkpoint import CheckpointFile, DamagedCheckpointError
from trials.record import EpochResult, TrialRecord

HOST = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
PLACED = Architecture.from_dict({"host": HOST, "placement": {"layer2.*/branch": [{"module": "eca"}]}})


def configured(epochs: int, **train: object) -> TrialConfig:
    recipe = {"epochs": epochs, "batch_size": 50, "lr": 0.1, "schedule": "wsd", "cooldown": 0.5, "ema": 0.9} | train
    return TrialConfig(
        data=DataConfig(source="digits", validation=100, training=100),
        train=TrainConfig.model_validate(recipe),
        device="cpu",
    )


def run(epochs: int, checkpoint: Path | None = None, seed: int = 5, **train: object) -> TrialRecord:
    return run_trial(PLACED, configured(epochs, **train), seed, checkpoint=checkpoint)


def found(record: TrialRecord) -> tuple[object, ...]:
    """Return what must be equal to the bit, without times."""
    assert record.status == "complete", record.reason
    return record.accuracy, record.loss, tuple(replace(result, wall_s=0.0) for result in record.history)


def test_a_longer_training_goes_on_from_a_shorter_one_to_the_same_bits(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "a.pt"
    legs = [run(epochs, file) for epochs in (2, 4, 6)]
    assert [leg.first_epoch for leg in legs] == [1, 2, 3]  # the stable epochs are 1, 2 and 3
    assert [len(leg.history) for leg in legs] == [2, 4, 6]
    for leg in legs:
        assert found(leg) == found(run(leg.epochs))


def test_a_leg_that_is_run_again_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    run(2, file)
    first, again = run(6, file), run(6, file)
    assert again.first_epoch == 4  # it had left its own stable end behind
    assert found(again) == found(first)


class InterruptedTrainingError(Exception):
    """Ends a training as a kill does."""


@pytest.mark.parametrize("after", [1, 2, 4])
def test_an_interrupted_training_goes_on_from_its_last_epoch_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr("trials.trial.KEEP_EVERY_S", 0.0)
    file = tmp_path / "a.pt"

    def interrupt(result: EpochResult) -> None:
        if result.epoch == after:
            raise InterruptedTrainingError

    with pytest.raises(InterruptedTrainingError):
        run_trial(PLACED, configured(5), 5, on_epoch=interrupt, checkpoint=file)
    again = run(5, file)
    assert again.first_epoch == after + 1
    assert found(again) == found(run(5))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_an_interrupted_training_helps_none_of_another_length_behind_its_stable_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.trial.KEEP_EVERY_S", 0.0)

    def interrupt(result: EpochResult) -> None:
        if result.epoch == 3:
            raise InterruptedTrainingError

    with pytest.raises(InterruptedTrainingError):  # of 4 epochs, the last two are the cool-down
        run_trial(PLACED, configured(4), 5, on_epoch=interrupt, checkpoint=tmp_path / "a.pt")
    longer = run(6, tmp_path / "a.pt")
    assert longer.first_epoch == 3
    assert found(longer) == found(run(6))


def test_a_training_shorter_than_what_the_file_holds_starts_from_scratch(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    run(6, file)
    assert run(2, file).first_epoch == 1


def test_the_score_is_the_mean_of_the_last_epochs_of_the_cool_down() -> None:
    record = run(6, scored_epochs=2)
    assert record.accuracy == pytest.approx(sum(result.accuracy for result in record.history[-2:]) / 2)
    assert record.loss == pytest.approx(sum(result.loss for result in record.history[-2:]) / 2)
    short = run(2, scored_epochs=9)  # whose cool-down is one epoch
    assert short.accuracy == short.history[-1].accuracy


@pytest.mark.parametrize("changed", [{"seed": 6}, {"lr": 0.2}, {"batch_size": 25}])
def test_what_belongs_to_another_training_is_not_gone_on_from(tmp_path: Path, changed: dict[str, object]) -> None:
    run(2, tmp_path / "a.pt")
    assert run(4, tmp_path / "a.pt", **changed).first_epoch == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", [0, 1, 70, 5000])
def test_a_damaged_file_is_told_from_a_whole_one(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.pt"
    file = CheckpointFile(path)
    file.write("it", 3, {"weights": torch.arange(2000.0), "history": [{"epoch": 1}]})
    kept = file.read("it")
    assert kept is not None
    assert (kept.epoch, kept.state["history"]) == (3, [{"epoch": 1}])
    assert torch.equal(kept.state["weights"], torch.arange(2000.0))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedCheckpointError, match="is damaged"):
        file.read("it")


def test_a_kill_in_the_middle_of_a_write_leaves_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CheckpointFile(tmp_path / "a.pt")
    file.write("it", 1, {})

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        file.write("it", 2, {})
    kept = file.read("it")
    assert kept is not None
    assert kept.epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return print, ("run",)

    file = CheckpointFile(tmp_path / "a.pt")
    file.write("it", 1, {"x": Harmful()})
    with pytest.raises(DamagedCheckpointError, match="Weights only load failed"):
        file.read("it")
