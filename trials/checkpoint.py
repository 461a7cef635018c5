"""A training's state on disk, to go on from: whole or not at all, checked when it is read, never unpickled.

The file is one line with the SHA-256 of the rest, and the rest what `torch.save` writes.
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trials.whole_file import whole_file


class DamagedCheckpointError(ValueError):
    """A file is not what was written to it."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch."""

    epoch: int
    state: Mapping[str, Any]
    """Tensors and plain data, the tensors on the CPU."""


class CheckpointFile:
    """One file that holds the latest state of one training.

    Args:
        path: where; the folder is made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, identity: str, epoch: int, state: Mapping[str, Any]) -> None:
        """Put a state in place of what the file holds; a kill or a full disk leaves what it held.

        Args:
            identity: what the training is of.
            epoch: after which.
            state: tensors, numbers, strings, and lists and dicts of them.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        buffer = io.BytesIO()
        torch.save({"identity": identity, "epoch": epoch, "state": dict(state)}, buffer)
        data = buffer.getvalue()
        with whole_file(self._path) as unfinished:
            unfinished.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self._path.unlink(missing_ok=True)

    def read(self, identity: str) -> Checkpoint | None:
        """Return what the file holds; None if there is none, or if it is of something else.

        Raises:
            DamagedCheckpointError: the file is not as it was written, or holds what only unpickling would read.
        """
        try:
            checksum, _, data = self._path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest().encode() != checksum:
            raise DamagedCheckpointError(f"{self._path} is damaged")
        try:
            held = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise DamagedCheckpointError(f"{self._path} holds more than numbers: {error}") from error
        return Checkpoint(held["epoch"], held["state"]) if held["identity"] == identity else None


class Checkpoints:
    """What a training leaves on disk: the end of its stable epochs, for longer ones; and while it runs its last epoch.

    Args:
        path: of the first; the second, `<path>.running`, is gone when the training has come to its end.
    """

    def __init__(self, path: Path) -> None:
        self.stable = CheckpointFile(path)
        self.running = CheckpointFile(running_path(path))
        self.damaged: list[str] = []
        """What `latest` could not use, in words."""

    def latest(self, identity: str, epochs: int, stable: int) -> Checkpoint | None:
        """Return what a training of `epochs`, of which the first `stable` are common to all lengths, can go on from."""
        running = self._read(self.running, f"{identity} {epochs}")
        shared = self._read(self.stable, identity)
        usable = [each for each in (running, shared if shared and shared.epoch <= stable else None) if each]
        return max(usable, key=lambda each: each.epoch, default=None)

    def _read(self, file: CheckpointFile, identity: str) -> Checkpoint | None:
        try:
            return file.read(identity)
        except DamagedCheckpointError as error:
            self.damaged.append(f"{error}; the training does not go on from it")
            return None


def running_path(path: Path) -> Path:
    """Return where the last epoch of a training that runs is kept."""
    return path.with_name(f"{path.name}.running")
