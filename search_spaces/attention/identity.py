"""`init: identity`: a module that starts as the identity of its place, exactly, and learns to leave it.

f is replaced by i(x) + alpha (f(x) - i(x)) with one learned scalar alpha = 0 at the start, where i is what
stands at the place without the module. No paper here has it; it lets modules be added to a trained host.
(Zero-initialised residual branches: Bachlechner et al., 2021, ReZero, arXiv:2003.04887.)
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.errors import InputError


class IdentityStart(nn.Module):
    """A gate or a bridge: x + alpha (f(x, ...) - x)."""

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
    """A merge: s + alpha (f(branch, shortcut) - s) with the sum s = branch + shortcut."""

    def bare(self, *inputs: Any) -> Tensor:
        branch_BCHW, shortcut_BCHW = inputs
        total_BCHW: Tensor = branch_BCHW + shortcut_BCHW
        return total_BCHW


class IdentityStartWeights(IdentityStart):
    """A replaced convolution: conv(x) + alpha (f(x) - conv(x)), over the one weight that both use."""

    def __init__(self, module: nn.Module, conv: nn.Conv2d) -> None:
        if conv.padding_mode != "zeros":
            raise InputError(f"init 'identity' needs zero padding, the convolution has {conv.padding_mode!r}")
        super().__init__(module)
        self._geometry: dict[str, Any] = {
            "stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups
        }  # fmt: skip

    @property
    def weight(self) -> Tensor:
        """The convolution's weight, which the module keeps."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]  # nn.Module types attributes loosely
        return weight

    def bare(self, *inputs: Any) -> Tensor:
        bias = getattr(self.module, "bias", None)
        convolved_BCHW: Tensor = functional.conv2d(inputs[0], self.weight, bias, **self._geometry)
        return convolved_BCHW


def start_as_identity(kind: str, module: nn.Module, conv: nn.Conv2d | None = None) -> nn.Module:
    """Wrap a module of a kind (see `registry.KINDS`); `conv` is what a `weights` module replaces."""
    if kind == "weights":
        assert conv is not None
        return IdentityStartWeights(module, conv)
    return IdentityStartMerge(module) if kind == "merge" else IdentityStart(module)
