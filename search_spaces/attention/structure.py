"""What a module is made of, in words that are equal for two modules exactly if they are the same network.

For modules whose constructor is not ours to read. The words name classes, parameters and buffers with their
shapes, what a parameter is filled with at the start where that is a constant, and the plain attributes that a
forward pass reads (a setting that is only kept is no part of the network). They depend on no random number, no
machine and no device.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Reads = set[tuple[int, str]]


def describe(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[str, object]:
    """Return what `make()` builds, and what it answers to an image of a shape; both without data.

    Raises whatever the constructor or the forward pass raises.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        with _Fills() as fills:
            module = make()
        reads: Reads = set()
        for each in module.modules():
            _record_reads(each, reads)
        answer = module(torch.empty(shape))
    lines = [_describe_module(path, each, reads) for path, each in module.named_modules()]
    lines += [f"{name} {tuple(p.shape)} = {fills.of(p)}" for name, p in module.named_parameters()]
    lines += [f"{name} {tuple(b.shape)} {b.dtype}" for name, b in module.named_buffers()]
    return "\n".join(lines), answer


def _describe_module(path: str, module: nn.Module, reads: Reads) -> str:
    kept = {name: value for name, value in vars(module).items() if (id(module), name) in reads and _is_plain(value)}
    if "dilation" in kept and isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        # Along an axis with one tap, every dilation is one.
        kept["dilation"] = tuple(d if k > 1 else 1 for d, k in zip(module.dilation, module.kernel_size, strict=True))
    settings = ", ".join(f"{name}={value!r}" for name, value in sorted(kept.items()))
    return f"{path}: {type(module).__name__}({settings})"


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _record_reads(module: nn.Module, reads: Reads) -> None:
    """Let a module note in `reads` which of its attributes are read, from now on."""
    cls = type(module)

    def note(self: nn.Module, name: str) -> Any:
        if name != "training" and not name.startswith("_"):
            reads.add((id(self), name))
        return cls.__getattribute__(self, name)

    module.__class__ = type(cls.__name__, (cls,), {"__getattribute__": note})


class _Fills(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it in part
    """Knows of each tensor that is made inside whether it was last filled with a constant, also without data."""

    _CONSTANTS = {"zeros": 0.0, "zero_": 0.0, "ones": 1.0}  # noqa: RUF012 (never changed)
    _GIVEN = ("full", "fill_")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch types it in part
        self._constants: dict[int, float] = {}

    def of(self, tensor: Tensor) -> str:
        """Return the constant, or that the tensor is drawn."""
        return str(self._constants.get(_storage(tensor), "drawn"))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self._note(func.overloadpacket.__name__, args, result)
        return result

    def _note(self, operation: str, args: tuple[Any, ...], result: Tensor) -> None:
        key = _storage(result)
        value = self._CONSTANTS.get(operation, args[1] if operation in self._GIVEN else None)
        whole = result.numel() * result.element_size() == result.untyped_storage().nbytes()
        if isinstance(value, int | float) and whole:
            self._constants[key] = float(value)
        elif operation.endswith("_") or not any(isinstance(arg, Tensor) and _storage(arg) == key for arg in args):
            self._constants.pop(key, None)  # drawn, computed, or a new tensor where an old one was


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
