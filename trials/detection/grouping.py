"""Batches of images of one kind, such as upright ones: less of a batch is then padding.

As torchvision's reference script and MMDetection do (aspect ratio grouping).
"""

import numpy as np
from numpy.typing import NDArray

from trials.retrain.batching import Order, shuffled, slot_rng

_BATCHES = 33
"""Keeps the order of the batches apart from other random numbers of the same seed."""


def grouped(kinds: NDArray[np.bool_], batch_size: int, seed: int, epoch: int) -> Order:
    """Return each item once, in an order in which a batch holds items of one kind.

    One batch at most is mixed, and so is what does not fill a batch in the end. The order depends on seed and
    epoch alone.
    """
    drawn = shuffled(len(kinds), seed, epoch)
    batches: list[Order] = []
    left: list[Order] = []
    for kind in (False, True):
        items = drawn[kinds[drawn] == kind]
        whole = len(items) // batch_size * batch_size
        batches += list(items[:whole].reshape(-1, batch_size))
        left.append(items[whole:])
    rest = np.concatenate(left)
    whole = len(rest) // batch_size * batch_size
    batches += list(rest[:whole].reshape(-1, batch_size))
    mixed = slot_rng(seed, _BATCHES, epoch, 0).permutation(len(batches))
    return np.concatenate([*(batches[number] for number in mixed), rest[whole:]]).astype(np.int64)
