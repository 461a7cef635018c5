"""A training's state on disk, to go on from: whole or not at all, checked when it is read, never unpickled.

The file is one line with the SHA-256 of the rest, and the rest what `torch.save` writes.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=self._path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self._path)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self._path.unlink(missing_ok=True)

    def read(self, identity: str) -> Checkpoint | None:
        """Return what the file holds; None if there is none, if it is damaged, or if it is of something else."""
        try:
            checksum, _, data = self._path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest().encode() != checksum:
            return None
        held = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return Checkpoint(held["epoch"], held["state"]) if held["identity"] == identity else None


class Checkpoints:
    """What a training leaves on disk: the end of its stable epochs, for longer ones; and while it runs its last epoch.

    Args:
        path: of the first; the second, `<path>.running`, is gone when the training has come to its end.
    """

    def __init__(self, path: Path) -> None:
        self.stable = CheckpointFile(path)
        self.running = CheckpointFile(running_path(path))

    def latest(self, identity: str, epochs: int, stable: int) -> Checkpoint | None:
        """Return what a training of `epochs`, of which the first `stable` are common to all lengths, can go on from."""
        kept = [self.running.read(f"{identity} {epochs}"), self.stable.read(identity)]
        usable = [each for each in (kept[0], kept[1] if kept[1] and kept[1].epoch <= stable else None) if each]
        return max(usable, key=lambda each: each.epoch, default=None)


def running_path(path: Path) -> Path:
    """Return where the last epoch of a training that runs is kept."""
    return path.with_name(f"{path.name}.running")
