"""Do without Python's search for cyclic garbage while much is made that stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Let no cyclic garbage be looked for inside the block.

    Each search looks at all that was made so far, which is what takes long where a study of many trials is read: with
    10,000 a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
