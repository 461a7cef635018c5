"""`init: identity`: a module that starts as the identity of its place, exactly, and learns to leave it.

No paper here has it; it lets modules be added to a trained host. f is replaced by i + alpha (f - i) with one
learned scalar alpha = 0 at the start, where i is what the place gives without the module. (Zero-initialised
residual branches: Bachlechner et al., 2021, ReZero, arXiv:2003.04887.) A module that can do the same inside
at less cost, or that stands for something whose i a wrapper cannot compute, has a method `start_as_identity`.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError


class IdentityStart(nn.Module):
    """x + alpha (f(x) - x), alpha = 0 at first."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.alpha = nn.Parameter(torch.zeros(()))

    def bare(self, *inputs: Any) -> Tensor:
        """Return what the place gives without the module."""
        x_BCHW: Tensor = inputs[0]
        return x_BCHW

    def forward(self, *inputs: Any) -> Tensor:
        """Return the module's answer, drawn back to what the place gives without it."""
        bare = self.bare(*inputs)
        attended: Tensor = self.module(*inputs)
        return bare + self.alpha * (attended - bare)


class IdentityStartMerge(IdentityStart):
    """s + alpha (f(branch, shortcut) - s) with the sum s = branch + shortcut, alpha = 0 at first."""

    def bare(self, *inputs: Any) -> Tensor:
        branch_BCHW, shortcut_BCHW = inputs
        total_BCHW: Tensor = branch_BCHW + shortcut_BCHW
        return total_BCHW


_WRAPPERS: dict[str, type[IdentityStart]] = {
    "gate": IdentityStart,
    "bridge": IdentityStart,
    "merge": IdentityStartMerge,
}


def start_as_identity(kind: str, module: nn.Module) -> nn.Module:
    """Return the module of a kind (see `registry.KINDS`), changed or wrapped so that it starts as the identity.

    Raises:
        InputError: the module is of a kind that no wrapper serves, and has no `start_as_identity`.
    """
    start = getattr(module, "start_as_identity", None)
    if start is not None:
        start()
        return module
    if kind not in _WRAPPERS:
        raise InputError(f"{type(module).__name__} cannot start as the identity: it has no method `start_as_identity`")
    return _WRAPPERS[kind](module)


def how_identity_is_done(kind: str, cls: object) -> str:
    """Say for a reader how `init: identity` is done with a class of a kind."""
    how = getattr(cls, "start_as_identity", None) or _WRAPPERS.get(kind)
    return (inspect.getdoc(how) or "").split("\n")[0] if how else "not available"
