"""A pool of warm worker processes on this machine, each with a pipe to the driver.

A worker imports the function once and then computes task after task. Workers ignore Ctrl-C (the driver
decides what it means), and none outlives its driver: each watches for the driver's end, also while it
computes. A worker that dies takes only its own task with it.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[Any], None]
Function = Callable[[Task, Report], Result]

_CLOSE_SECONDS = 5.0
_MOST_FAILED_STARTS = 3


@dataclass(frozen=True)
class Progress:
    """Something that the function reported while it computed the task `key`."""

    key: int
    payload: Any


@dataclass(frozen=True)
class Done:
    """What the function returned for the task `key`."""

    key: int
    result: Any


@dataclass(frozen=True)
class Crashed:
    """The task `key` ended without a result: how its worker died, or what the function raised."""

    key: int
    reason: str
    """One line, perhaps with a traceback below; or the traceback of what the function raised."""


Event = Progress | Done | Crashed
_EVENTS: dict[str, Callable[[int, Any], Event]] = {"progress": Progress, "done": Done, "crashed": Crashed}


class WorkerBrokenError(RuntimeError):
    """Raised by the function: the task failed, and its process can compute no other. It ends; the message is told."""


class PoolError(RuntimeError):
    """Workers cannot be started; the message holds what they said."""


class LocalPool(Generic[Task, Result]):
    """Up to `num_workers` processes that compute `function(task, report)`; `report(payload)` sends progress.

    Processes start when first needed, and stay. Tasks, results and payloads must be picklable. Use it in a
    `with` block: workers are asked to end where it ends normally, and killed where it raises.

    Args:
        function: A function at the top level of an importable module, or "module:name" of one.
        threads_per_worker: For torch and for the libraries below it.
    """

    def __init__(self, num_workers: int, function: str | Function[Task, Result], threads_per_worker: int = 1) -> None:
        assert num_workers >= 1, num_workers
        self._function = function if isinstance(function, str) else _path_of(function)
        self.num_workers = num_workers
        """How many tasks are computed at a time."""
        self._num_threads = threads_per_worker
        self._workers: list[_Worker] = []
        self._num_failed_starts = 0

    @property
    def num_idle(self) -> int:
        """How many more tasks can be submitted now."""
        return self.num_workers - len(self.busy)

    @property
    def busy(self) -> list[int]:
        """The keys of the tasks being computed."""
        return [worker.key for worker in self._workers if worker.key is not None]

    def submit(self, key: int, task: Task) -> None:
        """Give a task to an idle worker, starting one if need be; `key` names it in events."""
        assert self.num_idle, "no idle worker"
        with _uninterrupted():
            worker = next((w for w in self._workers if w.key is None and w.process.is_alive()), None)
            if worker is None:
                self._workers = [w for w in self._workers if w.key is not None or w.process.is_alive()]
                worker = _Worker(self._function, self._num_threads)
                self._workers.append(worker)
            worker.start_task(key, task)

    def wait(self, timeout: float | None = None) -> list[Event]:
        """Wait up to `timeout` seconds for events, and return them, each worker's in order.

        Returns at once with nothing when no task is being computed.

        Raises:
            PoolError: The function cannot be imported, or workers die before they are ready.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        events: list[Event] = []
        while not events and self.busy:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            workers = [worker for worker in self._workers if worker.key is not None]
            ready = set(wait([w.connection for w in workers] + [w.process.sentinel for w in workers], left))
            with _uninterrupted():
                for worker in workers:
                    if ready & {worker.connection, worker.process.sentinel}:
                        events += self._listen(worker)
            if not ready:
                break
        return events

    def close(self) -> None:
        """Let idle workers end by themselves, and kill the rest."""
        with _uninterrupted():
            for worker in self._workers:
                worker.say_goodbye()
            for worker in self._workers:
                worker.process.join(_CLOSE_SECONDS if worker.key is None else 0)
        self.kill()

    def kill(self) -> None:
        """End all workers now; what they compute is lost."""
        with _uninterrupted():
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.join()
                worker.connection.close()
            self._workers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def _listen(self, worker: "_Worker") -> list[Event]:
        events: list[Event] = []
        for kind, payload in worker.messages():
            if kind == "ready":
                self._num_failed_starts = 0
            elif kind == "started":
                worker.started = True
            elif kind == "failed to start":
                raise PoolError(f"a worker cannot import {self._function}:\n{payload}")
            else:
                assert worker.key is not None
                events.append(_EVENTS[kind](worker.key, payload))
                if kind != "progress":
                    worker.key = None
        if not worker.process.is_alive():
            events += self._bury(worker)
        return events

    def _bury(self, worker: "_Worker") -> list[Event]:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        how = _how_it_ended(worker.process.exitcode)
        if not worker.ready:
            self._num_failed_starts += 1
            if self._num_failed_starts >= _MOST_FAILED_STARTS:
                raise PoolError(
                    f"{_MOST_FAILED_STARTS} workers in a row {how} before they were ready; is there a "
                    'message above? A script that starts a search must do so under `if __name__ == "__main__":`'
                )
        if worker.key is not None and not worker.started:  # it died before it looked at the task: not the task's fault
            self.submit(worker.key, worker.task)
            return []
        return [] if worker.key is None else [Crashed(worker.key, f"its worker process {how}")]


class _Worker:
    """The driver's end of a worker: process, pipe, and the task it has."""

    def __init__(self, function: str, num_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, function, num_threads), name="nas worker", daemon=True
        )
        with _inherited(num_threads):
            self.process.start()
        theirs.close()
        self.key: int | None = None
        self.task: Any = None
        self.ready = self.started = False

    def start_task(self, key: int, task: Any) -> None:
        self.key, self.task, self.started = key, task, False
        try:
            self.connection.send((task,))
        except OSError:  # it has just died: `LocalPool.wait` will find out, and say so
            return

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Yield what the worker has said so far, also if it has died since."""
        try:
            while self.connection.poll():
                kind, payload = self.connection.recv()
                self.ready |= kind == "ready"
                yield kind, payload
        except (EOFError, OSError):
            self.process.join(_CLOSE_SECONDS)  # its end of the pipe is closed: it is about to be gone

    def say_goodbye(self) -> None:
        if self.key is None:
            try:
                self.connection.send(None)
            except OSError:
                return


def _path_of(function: Function[Any, Any]) -> str:
    if "." in function.__qualname__ or function.__module__ == "__main__":
        raise ValueError(
            f"workers must be able to import {function.__qualname__}: it has to stand at the top level of a "
            "module, and not of the script that is run"
        )
    return f"{function.__module__}:{function.__qualname__}"


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    return f"ended with exit code {exit_code}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C to the end of the block: half a message read or process started cannot be mended."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python raises KeyboardInterrupt in the main thread only
        return
    pending: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending and callable(before):
            before(*pending[0])


@contextmanager
def _inherited(num_threads: int) -> Iterator[None]:
    """Start processes in the block with Ctrl-C blocked and with the number of threads in their environment.

    The environment, since libraries read it when they are loaded; blocked, since a process that is starting
    would answer Ctrl-C with a traceback before it comes to ignore it.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(names, str(num_threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(connection: Connection, path: str, num_threads: int) -> None:
    """Be a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_the_driver, daemon=True).start()
    try:
        module, name = path.split(":")
        function: Function[Any, Any] = getattr(importlib.import_module(module), name)
        if "torch" in sys.modules:  # imported later, torch takes the number from the environment
            sys.modules["torch"].set_num_threads(num_threads)
    except Exception:
        connection.send(("failed to start", traceback.format_exc()))
        return
    connection.send(("ready", None))
    while received := connection.recv():
        connection.send(("started", None))
        try:
            result = function(received[0], lambda payload: connection.send(("progress", payload)))
            connection.send(("done", result))
        except WorkerBrokenError as error:
            connection.send(("crashed", str(error)))
            os._exit(1)  # an orderly end would call on what is broken
        except Exception:
            connection.send(("crashed", traceback.format_exc()))


def _die_with_the_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)
