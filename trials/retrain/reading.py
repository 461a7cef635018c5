"""Reading micro-batches ahead in worker processes, in their order, whatever process is done first."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from search_spaces import InputError
from trials.retrain.batching import Part
from trials.retrain.place import Place

T = TypeVar("T")

AHEAD = 3
"""Micro-batches that each worker may be ahead."""
MOST_WORKERS = 16
"""That are started for one process unless asked for more."""


def num_workers(asked: int | None, place: Place) -> int:
    """Return how many processes read for this one; if that was not asked for, as many as there are CPUs for it.

    None where the CPUs train themselves: they would only take turns.
    """
    if asked is not None:
        return asked
    if place.device.type == "cpu":
        return 0
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", place.world_size))
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // beside))


@dataclass(frozen=True)
class _Refused:
    """What a worker found wrong, in words; an exception would come back with the worker's traceback as its text."""

    message: str


class _Parts(Dataset[T | _Refused], Generic[T]):
    def __init__(self, read: Callable[[Part], T], parts: Sequence[Part]) -> None:
        self._read, self._parts = read, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: int) -> T | _Refused:
        try:
            return self._read(self._parts[number])
        except InputError as error:
            return _Refused(str(error))


def read_ahead(
    read: Callable[[Part], T], parts: Sequence[Part], workers: int, *, pin_memory: bool = False
) -> Iterator[T]:
    """Yield what `read` returns for each part, in the order of the parts.

    Nothing is drawn from torch's global random numbers. What is read ahead ends when the iterator is closed.

    Args:
        read: called in a worker; returns a tensor, or tuples and dicts of them.
        parts: what to read.
        workers: processes, 0 for none: then each part is read when it is asked for.
        pin_memory: have the tensors where CUDA copies them from without waiting.

    Raises:
        InputError: `read` raised it, or a worker was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        _Parts(read, parts),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals,
        generator=torch.Generator(),  # else the loader draws a seed for its workers from the global one
    )
    items = iter(loader)
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            told = "a process that reads images was killed, as when memory runs out; give fewer --workers"
            raise InputError(f"{told} ({error})") from None
        if isinstance(item, _Refused):
            raise InputError(item.message)
        yield item


def _leave_signals(_: int) -> None:
    """Let the training's own process answer signals that all processes get; workers end when it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
