"""The folder that a training writes: what it is of, its checkpoints, its history, and in the end its weights."""

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from torch import nn

from search_spaces import Architecture, InputError
from search_spaces.yaml_files import dump_yaml
from trials.retrain.job import Job
from trials.retrain.record import RetrainEpoch, RetrainRecord
from trials.retrain.shelf import Shelf
from trials.weights import save_weights
from trials.whole_file import whole_file

WEIGHTS, RECORD, ARCHITECTURE, RECIPE = "weights.safetensors", "record.json", "architecture.yaml", "recipe.yaml"
_IDENTITY, _HISTORY, _CHECKPOINTS, _LOCK = "training.json", "history.jsonl", "checkpoints", ".lock"

_NAMES = {
    "architecture": "architecture",
    "recipe": "recipe",
    "seed": "seed",
    "data": "data set",
    "backbone": "backbone",
}
"""What must be the same for a training to go on, and how readers call it."""


class Folder:
    """The output of one training; only the first process writes.

    Args:
        job: what is trained.
    """

    def __init__(self, job: Job) -> None:
        self.path = job.out
        self._job = job

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second training out of the folder; a lock dies with the process. Raises InputError."""
        _make(self.path)
        with (self.path / _LOCK).open("w") as file:
            try:
                # Not flock: a killed training's workers, forked from it, would hold that for some seconds more.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise InputError(f"{self.path}: another process is training here; give another --out") from None
            yield

    def claim(self, identity: Mapping[str, str], built: Architecture) -> None:
        """Say what the folder is of, or check that it is of the same.

        Args:
            identity: what must be the same.
            built: the architecture of the network that is trained; see `Task.architecture`.

        Raises:
            InputError: it is of something else, or of nothing that this command wrote.
        """
        file = self.path / _IDENTITY
        if file.exists():
            before = json.loads(file.read_text())
            other = [name for key, name in _NAMES.items() if before.get(key) != identity.get(key)]
            if other:
                raise InputError(
                    f"{self.path} holds a training of another {' and '.join(other)}; give another --out, or remove "
                    "that folder"
                )
        elif any(not item.name.startswith(".") for item in self.path.iterdir()):
            raise InputError(f"{self.path} is not empty, and not the folder of a retraining; give another --out")
        else:
            _write_text(file, json.dumps(dict(identity), indent=2))
        # After the identity, and wherever one is missing: a kill may fall between any two of them.
        texts = {ARCHITECTURE: built.to_yaml(), RECIPE: dump_yaml(self._job.recipe.to_dict())}
        for name, text in texts.items():
            if not (self.path / name).exists():
                _write_text(self.path / name, text)

    def shelf(self, identity: Mapping[str, str]) -> Shelf:
        """Return the checkpoints."""
        text = json.dumps(dict(identity), sort_keys=True)
        return Shelf(self.path / _CHECKPOINTS, text, self._job.recipe.keep)

    def write_history(self, history: Sequence[RetrainEpoch]) -> None:
        """Write the epochs so far, one a line."""
        _write_text(self.path / _HISTORY, "".join(f"{json.dumps(asdict(epoch))}\n" for epoch in history))

    def finish(self, model: nn.Module, metadata: Mapping[str, str], record: RetrainRecord) -> None:
        """Write the weights and then the record, which says that the training has come to its end."""
        save_weights(model, self.path / WEIGHTS, metadata)
        _write_text(self.path / RECORD, json.dumps(record.to_dict(), indent=2))

    def record(self) -> RetrainRecord | None:
        """Return the record of a training that has come to its end."""
        return read_record(self.path) if (self.path / RECORD).exists() else None


def read_record(folder: Path) -> RetrainRecord:
    """Return the record in a folder. Raises InputError: there is none, or it cannot be read."""
    try:
        return RetrainRecord.from_dict(json.loads((folder / RECORD).read_text()))
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no finished retraining ({RECORD} is missing)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / RECORD} cannot be read: {error}") from None


def read_history(folder: Path) -> list[RetrainEpoch]:
    """Return the epochs that a training has in its folder so far."""
    try:
        lines = (folder / _HISTORY).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [RetrainEpoch(**json.loads(line)) for line in lines]


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be made: {error.strerror}") from None


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(text)
