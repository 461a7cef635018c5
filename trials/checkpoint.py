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
