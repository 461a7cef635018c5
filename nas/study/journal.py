"""Optuna's journal file in a study's folder, safe against drivers that are killed.

Two things in Optuna 5.0's journal do not survive a kill, and are replaced here:

- its lock is a file that a killed process leaves behind, and the next write waits 30 s for it; ours is
  `flock`, which the system drops with the process;
- a last line cut short by a kill is ignored while it is last, but after one more write the journal cannot be
  read at all; we cut it off before the first write.
"""

import fcntl
import gc
import json
import os
import threading
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # not exported; its two subclasses are
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from nas.proposals.distributions import decoded
from nas.study.json_values import parsed
from search_spaces.errors import InputError

JOURNAL = "journal.log"


def open_storage(folder: Path, guard: Callable[[], None] | None = None) -> JournalStorage:
    """Open the journal in `folder` for reading and writing; make the folder and the file where missing.

    Only the holder of the study's driver lock may call this: a torn last line is cut off.

    Args:
        folder: the study's.
        guard: is called before each write, while nobody else can write; what it raises keeps the write from happening.

    Raises:
        InputError: The journal is damaged before its last line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock = _Flock(path)
    lock.acquire()
    try:
        _cut_torn_line(path)
    finally:
        lock.release()
    return _replay(_Journal(str(path), lock, guard))


def read_storage(folder: Path) -> JournalStorage:
    """Open the journal in `folder` for reading, also while a driver writes to it; nothing changes.

    A last line that is being written at this moment is left for the next look.

    Raises:
        InputError: There is no journal, or it is damaged before its last line.
    """
    return _replay(_ReadOnlyJournal(*_existing(folder)))


def read_studies(folder: Path) -> JournalStorage:
    """Open the journal in `folder` for what it says of its studies themselves: their trials are passed over unread.

    Raises:
        InputError: There is no journal, or it is damaged in what was read.
    """
    return _replay(_JournalOfStudies(*_existing(folder)))


def _existing(folder: Path) -> "tuple[str, _Flock]":
    path = folder / JOURNAL
    if not path.is_file():
        raise InputError(f"{folder} holds no study: there is no {JOURNAL} in it")
    return str(path), _Flock(path)


class _Reader(JournalFileBackend):
    """Optuna's journal file with a faster parser, to be read on from where it was read up to."""

    passed_over: tuple[bytes, ...] = ()
    """How lines begin that are not read."""

    def __init__(self, file_path: str, lock_obj: BaseJournalFileLock) -> None:
        super().__init__(file_path, lock_obj)
        self._behind = 0, 0  # lines and bytes

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the operations from a number on, without what is being written at the end.

        Raises:
            ValueError: A line before the last is none.
        """
        number, offset = self._behind if self._behind[0] <= log_number_from else (0, 0)
        with open(self._file_path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            for line in file:
                offset += len(line)
                if offset > size or not line.endswith(b"\n"):
                    return
                if line.startswith(self.passed_over):
                    continue
                try:
                    log = parsed(line)
                except ValueError:
                    if offset < size:
                        raise
                    return
                number += 1
                self._behind = number, offset
                if number > log_number_from:
                    yield log


class _Journal(_Reader):
    """Journal file whose every append is there as a whole or not at all, also when the disk is full."""

    def __init__(self, file_path: str, lock_obj: BaseJournalFileLock, guard: Callable[[], None] | None) -> None:
        super().__init__(file_path, lock_obj)
        self._path, self._flock, self._guard = file_path, lock_obj, guard

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._flock.acquire()
        try:
            if self._guard:
                self._guard()
            with open(self._path, "ab", buffering=0) as file:
                end = os.fstat(file.fileno()).st_size
                try:
                    written = 0
                    while written < len(data):
                        written += file.write(data[written:])
                    os.fsync(file.fileno())
                except BaseException:
                    file.truncate(end)
                    raise
        finally:
            self._flock.release()


class _ReadOnlyJournal(_Reader):
    def append_logs(self, logs: list[dict[str, Any]]) -> NoReturn:
        raise NotImplementedError("the journal was opened for reading only")


class _JournalOfStudies(_ReadOnlyJournal):
    passed_over = tuple(f'{{"op_code":{op:d},'.encode() for op in JournalOperation if "TRIAL" in op.name)


class _Flock(BaseJournalFileLock):
    """Lock on the journal file itself; the system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


class _Storage(JournalStorage):
    """Optuna's storage, which replays a long journal faster (`benchmarks/storages.py`).

    Nearly all of it went into parameters' distributions, which are decoded once here and shared, and into Python's
    garbage collector, which finds nothing in what is all kept. Optuna's own snapshots would be faster still, but are
    pickles: whoever can write to a folder could make its readers run code.
    """

    def __init__(self, backend: JournalFileBackend) -> None:
        self._worker_id_prefix = f"{uuid.uuid4()}-"
        self._backend = backend
        self._thread_lock = threading.Lock()
        self._replay_result = _ReplayResult(self._worker_id_prefix)
        collects = gc.isenabled()
        gc.disable()
        try:
            self._sync_with_backend()
        finally:
            if collects:
                gc.enable()


class _ReplayResult(JournalStorageReplayResult):
    def _apply_create_trial(self, log: dict[str, Any]) -> None:
        if self._study_exists(log["study_id"], log):
            distributions = {name: decoded(text) for name, text in log.pop("distributions", {}).items()}
            params = {
                name: distributions[name].to_external_repr(value) for name, value in log.pop("params", {}).items()
            }
            super()._apply_create_trial(log)
            trial = self._trials[len(self._trials) - 1]
            trial.distributions, trial.params = distributions, params


def _replay(backend: JournalFileBackend) -> JournalStorage:
    try:
        return _Storage(backend)
    except ValueError as error:  # json.JSONDecodeError is one
        raise InputError(
            f"{backend._file_path} is damaged before its last line ({error}); restore it from a copy, "
            "or search again into another folder"
        ) from error


def _cut_torn_line(path: Path) -> None:
    with open(path, "rb") as file:
        start, line = _last_line(file)
    if line and not _is_whole(line):
        os.truncate(path, start)


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """Return where the last line begins, and the line; only the end of the file is read."""
    end = file.seek(0, os.SEEK_END)
    size = 1 << 20
    while True:
        start = file.seek(max(0, end - size))
        data = file.read(end - start)
        newline = data.rfind(b"\n", 0, max(len(data) - 1, 0))
        if newline >= 0 or start == 0:
            return start + newline + 1, data[newline + 1 :]
        size *= 4


def _is_whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
