"""A limit on the time of one training: what hangs says where it stands, and ends with its process.

The clock is a thread of the interpreter itself (`faulthandler`), which does not wait for the interpreter's lock: it
ends a process too whose extension holds that lock and never comes back.
"""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from search_spaces import Architecture

_STDERR = 2

MOST_FRAMES = 12
"""Of each thread, the innermost, that are told of a training that hung."""


def hang_log_path(folder: Path, architecture: Architecture, seed: int) -> Path:
    """Return where a training writes where it stood when its time was up."""
    return folder / "hangs" / f"{architecture.id}-seed{seed}.txt"


@contextmanager
def time_limit(seconds: float | None, log: Path | None) -> Iterator[None]:
    """End the process if the block takes longer, with exit code 1; one at a time per process.

    Args:
        seconds: None: no limit.
        log: where all threads' tracebacks go then; without it, or if it cannot be written, to standard error.
    """
    if seconds is None:
        yield
        return
    file = _open(log)
    try:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file or _STDERR)
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if file is not None and log is not None:
            file.close()
            log.unlink(missing_ok=True)


def read_hang(log: Path) -> str | None:
    """Return what a training wrote that was ended at its limit, shortened, and remove it; None: it was not ended so."""
    try:
        text = log.read_text(errors="replace")
        log.unlink(missing_ok=True)
    except OSError:
        return None
    return _shortened(text) if text.strip() else None


def _open(log: Path | None) -> IO[str] | None:
    if log is None:
        return None
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return open(log, "w")
    except OSError:
        return None


def _shortened(text: str) -> str:
    """Return the innermost frames of each thread; the first line, which says that time was up, is left out."""
    lines: list[str] = []
    num_frames = 0
    for line in text.splitlines():
        is_frame = line.startswith("  ")
        num_frames = num_frames + 1 if is_frame else 0
        if line.startswith("Timeout ") or not line.strip() or num_frames > MOST_FRAMES + 1:
            continue
        lines.append("  ..." if num_frames > MOST_FRAMES else line)
    return "\n".join(lines)
