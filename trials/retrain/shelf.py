"""The checkpoints of a training: the last few, each whole and checked; a damaged one is passed over."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trials.checkpoint import Checkpoint, CheckpointFile, DamagedCheckpointError
from trials.whole_file import final_name

_PREFIX, _SUFFIX = "step-", ".checkpoint"


class Shelf:
    """Checkpoints in a folder, by the number of steps before them.

    Args:
        folder: where; it is made when something is written.
        identity: of the training: checkpoints of another count as none.
        keep: how many stay, the newest, at least 1.
    """

    def __init__(self, folder: Path, identity: str, keep: int) -> None:
        self._folder, self._identity, self._keep = folder, identity, keep
        self.damaged: list[str] = []
        """What `latest` could not use, in words."""

    def write(self, step: int, epoch: int, state: Mapping[str, Any]) -> None:
        """Add a checkpoint and remove those that are one too many. Raises OSError: the disk is full, and the like."""
        CheckpointFile(self._path(step)).write(self._identity, epoch, state)
        for step_before in self._steps()[: -self._keep]:
            self._path(step_before).unlink(missing_ok=True)

    def latest(self) -> tuple[int, Checkpoint] | None:
        """Return the newest checkpoint that is whole, and its step; None if there is none."""
        for step in reversed(self._steps()):
            try:
                found = CheckpointFile(self._path(step)).read(self._identity)
            except DamagedCheckpointError as error:
                self.damaged.append(f"{error}; the training goes on from the checkpoint before it")
                continue
            if found is not None:
                return step, found
        return None

    def read(self, step: int) -> Checkpoint:
        """Return the checkpoint of a step that `latest` has found."""
        found = CheckpointFile(self._path(step)).read(self._identity)
        assert found is not None
        return found

    def tidy(self) -> None:
        """Remove what a kill left unfinished."""
        for path in self._folder.glob(f".{_PREFIX}*"):
            if final_name(path):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all checkpoints, and the folder if nothing else is in it."""
        self.tidy()
        for step in self._steps():
            self._path(step).unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _path(self, step: int) -> Path:
        return self._folder / f"{_PREFIX}{step:010d}{_SUFFIX}"

    def _steps(self) -> list[int]:
        numbers = (
            path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for path in self._folder.glob(f"{_PREFIX}*{_SUFFIX}")
        )
        return sorted(int(number) for number in numbers if number.isdigit())
