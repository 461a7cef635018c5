"""One order out of several."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def merge_orders(sequences: Iterable[Sequence[T]]) -> list[T]:
    """Return the elements of all sequences, each once, in an order that keeps theirs as far as they agree.

    What only a later sequence has comes right after what it follows there: the sites that a deeper network has on
    top of a shallow one's stand where the deeper one has them.
    """
    merged: list[T] = []
    for sequence in sequences:
        place = 0
        for element in sequence:
            if element in merged:
                place = merged.index(element) + 1
            else:
                merged.insert(place, element)
                place += 1
    return merged
