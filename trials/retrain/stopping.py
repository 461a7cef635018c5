"""Being told to stop: Ctrl-C and SIGTERM, as Slurm sends it before it takes a machine away."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedTrainingError(Exception):
    """A training was told to stop, and can go on from where it was.

    Args:
        number: of the signal.
        message: what is kept, and how to go on.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.number, self.message = number, message

    def __str__(self) -> str:
        return self.message


class Stop:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self.number = 0
        """Of the signal; 0: none came."""

    def __bool__(self) -> bool:
        return self.number != 0

    def _take(self, number: int, _: FrameType | None) -> None:
        if number == self.number == signal.SIGINT:  # asked twice, a user does not want to wait
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def listening() -> Iterator[Stop]:
    """Yield what says whether a signal has come; a second Ctrl-C ends the process at once.

    Signals are answered in a process's main thread only: elsewhere (a worker of Ray, say) none is taken.
    """
    stop = Stop()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop._take) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
