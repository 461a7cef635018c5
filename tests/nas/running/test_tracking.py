"""What trackers are told of a search."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.running.progress import Watcher
from nas.running.tracking import Tracker, make_callbacks
from search_spaces.errors import InputError


def events(folder: Path) -> Iterator[Any]:
    """Read what a TensorBoard would: records of length, its checksum, an event, and its checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[12 + length + 4 :]


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    return {
        (value.tag, event.step): value.simple_value
        for event in events(folder)
        for value in event.summary.value
        if value.HasField("simple_value")
    }


def test_tensorboard_has_the_curves_and_figures_of_every_trial(experiments: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    outcome = nas.search(
        str(experiments / "random.yaml"),
        tmp_path / "study",
        device="cpu",
        track=[Tracker.TENSORBOARD],
        watcher=Watcher.quiet(),
    )
    for phase, trials in (("search", outcome.view.search), ("confirm", outcome.view.confirm)):
        folders = {
            int(path.name.partition("-")[0]): path for path in (tmp_path / "study/tensorboard" / phase).iterdir()
        }
        assert set(folders) == {trial.number for trial in trials}
        trial = trials[-1]
        assert trial.record
        found = scalars(folders[trial.number])
        for epoch in trial.record.history:
            assert found["accuracy", epoch.epoch] == pytest.approx(epoch.accuracy, rel=1e-6)
            assert found["train_loss", epoch.epoch] == pytest.approx(epoch.train_loss, rel=1e-6)
        assert found["trial/macs", trial.record.epochs] == trial.record.macs


def test_a_tracker_of_ray_s_needs_ray(experiments: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`--track mlflow` comes from Ray's callbacks, and needs `--executor ray`"):
        nas.search(str(experiments / "random.yaml"), tmp_path / "study", track=[Tracker.MLFLOW])
    assert not (tmp_path / "study").exists()


def test_a_tracker_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(InputError, match="pip install mlflow"):
        make_callbacks([Tracker.MLFLOW], "a search")
