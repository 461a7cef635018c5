"""What the driver needs of an executor: the place where the tasks of a search run."""

from types import TracebackType
from typing import Protocol, Self

from nas.running.execution import Execution


class Executor(Protocol):
    """Runs tasks side by side; used in a `with` block, which ends its workers."""

    @property
    def num_workers(self) -> int:
        """How many tasks run at a time, as things stand now; a cluster grows and shrinks."""

    def run(self, execution: Execution) -> None:
        """Run until the execution has nothing more to run and nothing is running.

        Raises:
            InputError: most trials fail, or nothing can be run; the message says why.
            KeyboardInterrupt: after what was running went back into the queue.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
