"""Building networks without data."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = {
    *(getattr(Tensor, name) for name in ("normal_", "uniform_", "fill_", "zero_", "mul_", "add_", "clamp_", "erfinv_")),
    *(draw for name, draw in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")),
}
"""What draws or fills its first argument."""


@contextmanager
def on_meta() -> Iterator[None]:
    """Build networks inside without data, whatever their size, in the time of their constructors.

    Torch's generator is left as it was: some networks draw what they do not keep.
    """
    with torch.random.fork_rng(devices=()), _EmptyOnMeta():
        yield


class _EmptyOnMeta(TorchFunctionMode):
    """Allocates parameters on the meta device and nothing else.

    `torch.device("meta")` as a context would take everything: RegNet computes its widths with tensors. What would draw
    or fill parameters does nothing: on the meta device it took longer than drawing real ones.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.empty:
            kwargs = {"device": "meta"} | {key: value for key, value in (kwargs or {}).items() if value is not None}
        elif func in _DRAWS and args and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def to_meta(module: nn.Module) -> nn.Module:
    """Move what a module has elsewhere to the meta device, in a third of the time of `module.to("meta")`."""
    moved: dict[Tensor, Tensor] = {}
    for each in module.modules():
        for tensors in (each._parameters, each._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and not tensor.is_meta:
                    if tensor not in moved:
                        moved[tensor] = _on_meta(tensor)
                    tensors[name] = moved[tensor]  # type: ignore[assignment]
    return module


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
