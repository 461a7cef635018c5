"""One driver per study: a lock in the study's folder that dies with the process that holds it.

`flock` on a file that says who holds it. Where the folder is on a file system that several machines share, what holds
depends on it: with NFS of version 4, or 3 with its lock daemon, and with Lustre (`flock`), GPFS and CephFS the lock
counts on all of them; on NFS mounted with `nolock` or `local_lock`, and on Lustre without `flock`, only among the
processes of one machine, and two drivers on two machines have to be kept apart by hand. A study in a database has a
lease there that counts everywhere (`nas.study.lease`).

To take over is to put a new file, locked, in the place of the old one. The driver before finds that the file it holds
is not the one that has the name any more, at its next look or write, which does not happen then.
"""

import fcntl
import json
import os
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from search_spaces.errors import InputError

LOCK = "driver.lock"


class DriverLock:
    """Keep a second driver out of `folder` for the length of a `with` block.

    The file stays behind, empty; a driver that was killed leaves its name in it, but no lock.

    Args:
        folder: the study's; it is made where it is missing.
        take_over: take the lock from whoever holds it.

    Raises:
        InputError: On entering, another process holds the lock; the message says which, and since when.
    """

    def __init__(self, folder: Path, *, take_over: bool = False) -> None:
        self._folder, self._path, self._take_over = folder, folder / LOCK, take_over
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = -1
        while descriptor < 0:
            descriptor = self._replace() if self._take_over else self._lock()
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1

    def check(self) -> None:
        """Raise InputError if another driver has taken over."""
        if not self._is_ours(self._descriptor):
            try:
                holder = self._path.read_bytes()
            except OSError:
                holder = b""
            by = _in_words(holder) if holder else "another driver, which has ended since"
            raise InputError(f"{self._folder} was taken over by {by}; this driver has ended and writes nothing more")

    def _lock(self) -> int:
        """Lock the file and return its descriptor; -1 if it was replaced meanwhile."""
        # os.open makes descriptors that spawned workers do not inherit: a worker must not outlive its
        # driver's lock.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 4096)
            os.close(descriptor)
            raise InputError(
                f"{self._folder} is being driven by {_in_words(holder)}; one driver per study. --take-over ends it "
                "where it is"
            ) from error
        if not self._is_ours(descriptor):
            os.close(descriptor)
            return -1
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        return descriptor

    def _replace(self) -> int:
        """Put a new, locked file in the place of the one that someone may hold, and return its descriptor."""
        descriptor, new = tempfile.mkstemp(prefix=f".{LOCK}-", dir=self._folder)
        os.fchmod(descriptor, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        os.replace(new, self._path)
        return descriptor

    def _is_ours(self, descriptor: int) -> bool:
        """Return whether the file of a descriptor still has the lock's name."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False


def _this_process() -> dict[str, str | int]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _in_words(holder: bytes) -> str:
    try:
        fields = json.loads(holder)
        return f"process {fields['pid']} on {fields['host']} since {fields['since']}"
    except (ValueError, KeyError, TypeError):  # it has the lock, and is about to write its name
        return "another process, which has just started"
