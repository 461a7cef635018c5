"""Tasks on this machine: one for each idle worker of a local pool, spread evenly over the devices."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from nas.running.execution import Execution
from nas.running.local_pool import Crashed, Done, LocalPool, Progress
from nas.running.work import Task

Pool = LocalPool[Task, dict[str, Any]]


class LocalExecutor:
    """Runs tasks on a pool of processes.

    Args:
        pool: of which the executor takes charge.
        devices: what tasks are spread over.
    """

    def __init__(self, pool: Pool, devices: Sequence[str]) -> None:
        self._pool, self._devices = pool, devices
        self._device_of: dict[int, str] = {}

    @property
    def num_workers(self) -> int:
        """How many tasks run at a time."""
        return self._pool.num_workers

    def run(self, execution: Execution) -> None:
        """Run until the execution has nothing more to run and nothing is running. Raises as `Executor.run`."""
        try:
            while True:
                execution.check_driver()
                self._start(execution)
                if execution.is_over:
                    return
                for event in self._pool.wait(timeout=1.0):
                    self._handle(execution, event)
                execution.tidy()
        except BaseException:
            self._pool.kill()
            self._device_of.clear()
            execution.release()
            raise

    def _start(self, execution: Execution) -> None:
        while self._pool.num_idle:
            busy = Counter(self._device_of.values())
            device = min(self._devices, key=lambda name: busy[name])
            task = execution.next(device)
            if task is None:
                return
            self._device_of[task[0]] = device
            self._pool.submit(*task)

    def _handle(self, execution: Execution, event: Progress | Done | Crashed) -> None:
        if isinstance(event, Progress):
            execution.progressed(event.key, event.payload)
            return
        del self._device_of[event.key]
        if isinstance(event, Done):
            execution.finished(event.key, event.result)
        else:
            execution.crashed(event.key, event.reason)

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, value, traceback)
