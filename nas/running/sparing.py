"""Work that is nice to have, done as often as it takes no more than a small share of the time."""

import time
from types import TracebackType
from typing import Self

SHARE = 0.02


class Sparing:
    """Measures a piece of work in a `with` block, and says when it is worth doing again; at first it is."""

    def __init__(self) -> None:
        self._began = self._due = 0.0

    @property
    def are_due(self) -> bool:
        """Whether so much time has passed since it was done that it took only a share of `SHARE`."""
        return time.monotonic() >= self._due

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = time.monotonic()
        self._due = now + (now - self._began) / SHARE
