"""How an effective batch is cut into what each process computes at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError

Order = NDArray[np.int64]
"""Positions of items, in the order in which an epoch shows them."""

_ORDER = 11
"""Keeps the random numbers of the order apart from others of the same seed."""


@dataclass(frozen=True, eq=False)
class Part:
    """A micro-batch: what one process computes at a time. What is drawn for an item is drawn from its slot."""

    epoch: int
    """From 1."""
    slots: range
    """Places in the epoch's order, from 0; an item that is shown twice in an epoch has two."""
    items: Order
    """The positions of the items there."""


@dataclass(frozen=True)
class Batching:
    """The parts of an effective batch: `world_size` processes, each with `accumulation` parts one after the other.

    Part number a of rank r is part a * world_size + r of the batch, so that the parts are the same, in the same order,
    for any division into as many of them: 2 processes compute what 1 process computes with an accumulation of 2.
    """

    batch_size: int
    world_size: int
    accumulation: int

    def __post_init__(self) -> None:
        num_parts = self.world_size * self.accumulation
        if self.batch_size % num_parts:
            near = [size for size in range(1, self.batch_size + 1) if self.batch_size % (size * self.world_size) == 0]
            allowed = (
                f"`accumulation` may be {', '.join(map(str, near[:8]))} with so many processes"
                if near
                else f"the number of processes must divide {self.batch_size}"
            )
            raise InputError(
                f"`batch_size: {self.batch_size}` cannot be divided among {self.world_size} processes with "
                f"`accumulation: {self.accumulation}`: {num_parts} equal parts are needed; {allowed}"
            )

    @property
    def part_size(self) -> int:
        """Items that a process computes at a time."""
        return self.batch_size // (self.world_size * self.accumulation)

    def count_steps(self, order: Order) -> int:
        """Return the steps of an epoch, whose rest is left out. Raises InputError if there is none."""
        steps = len(order) // self.batch_size
        if not steps:
            raise InputError(f"`batch_size: {self.batch_size}` is more than the {len(order)} training items")
        return steps

    def parts(self, order: Order, epoch: int, first_step: int, end_step: int, rank: int) -> list[Part]:
        """Return what falls to a process from one step (from 0) to another, which is left out."""
        size = self.part_size
        starts = (
            step * self.batch_size + (number * self.world_size + rank) * size
            for step in range(first_step, end_step)
            for number in range(self.accumulation)
        )
        return [Part(epoch, range(start, start + size), order[start : start + size]) for start in starts]


def shuffled(num_items: int, seed: int, epoch: int) -> Order:
    """Return each item once, in an order that depends on seed and epoch alone."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num_items)


def slot_rng(seed: int, stream: int, epoch: int, slot: int) -> np.random.Generator:
    """Return the generator for what happens to the item in a slot, the same in every process and after every kill.

    Args:
        seed: of the training, not negative.
        stream: a number of the caller's own, which keeps its random numbers apart from others.
        epoch: from 1.
        slot: see `Part.slots`.
    """
    return np.random.default_rng((seed, stream, epoch, slot))
