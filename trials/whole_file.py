"""Files that appear under their name only when they are complete and on the disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield where to write what is to stand at `path`; it takes that place when the block ends well.

    The folder is made if it does not exist. Bytes are on the disk before the name is theirs, so that neither a kill nor
    a full disk nor a power cut leaves anything but the file before or the file after. If the block or the disk fails,
    what was written so far is removed.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        _flush(unfinished)
        unfinished.chmod(0o644)
        unfinished.replace(path)
        with suppress(OSError):  # some file systems cannot flush a folder, and the file is in its place
            _flush(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def final_name(path: Path) -> str | None:
    """Return under which name a file that is not finished is to stand; None if `path` is no such file."""
    name = path.name
    return name[1:].rpartition("-")[0] if name.startswith(".") and "-" in name else None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
