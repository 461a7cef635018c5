"""Building networks without data."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def on_meta() -> Iterator[None]:
    """Build networks inside without data, whatever their size, in the time of their constructors."""
    with _EmptyOnMeta():
        yield


class _EmptyOnMeta(TorchFunctionMode):
    """Allocates parameters on the meta device and nothing else.

    `torch.device("meta")` as a context would take everything: RegNet computes its widths with tensors.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
