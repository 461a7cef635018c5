"""One driver per study: a lock in the study's folder that dies with the process that holds it."""

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from search_spaces.errors import InputError

LOCK = "driver.lock"


class DriverLock:
    """Keep a second driver out of `folder` for the length of a `with` block.

    The file stays behind, empty; a driver that was killed leaves its name in it, but no lock.

    Raises:
        InputError: On entering, another process holds the lock; the message says which, and since when.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        # os.open makes descriptors that spawned workers do not inherit: a worker must not outlive its
        # driver's lock.
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 4096)
            os.close(descriptor)
            raise InputError(f"{self._folder} is being driven by {_in_words(holder)}; one driver per study") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1


def _this_process() -> dict[str, str | int]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _in_words(holder: bytes) -> str:
    try:
        fields = json.loads(holder)
        return f"process {fields['pid']} on {fields['host']} since {fields['since']}"
    except (ValueError, KeyError, TypeError):  # it has the lock, and is about to write its name
        return "another process, which has just started"
