"""Selective kernel convolution.

Li et al., 2019, Selective Kernel Networks, arXiv:1903.06586, section 3.1; released code: github.com/implus/SKNet,
models/sknet50.prototxt.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.convolutions import check_plain, conv_arguments, reach, zero_padding
from search_spaces.attention.layers import hidden_width, init_conv
from search_spaces.attention.ops.fused import average
from search_spaces.attention.registry import ConvGeometry, register
from search_spaces.errors import InputError


@register("sk", kind="weights", paper="Li et al., 2019, arXiv:1903.06586")
class SK(nn.Module):
    """Selective kernel: convolve at several dilations and choose among them, channel by channel.

    Split: U_i = ReLU(BN(conv_i(x))), i = 1..M; conv_1 is the convolution stood for, conv_i the same with i times
    its dilation and the padding that keeps the size (a 3x3 dilated by 2 for the paper's 5x5, as there).
    Fuse: U = sum U_i (eq. 1), s = mean of U over the positions (eq. 2), z = ReLU(BN(W s)), W: C -> d (eq. 3),
    d = max(C // r, L) (eq. 4).
    Select: V = sum a_i U_i (eq. 6), a = softmax over the paths of (A_1 z, .., A_M z), A_i: d -> C (eq. 5).
    (B, C_in, H, W) -> (B, C, H', W') of the convolution; r is `reduction`, L `min_hidden`, M `num_paths`.

    In the paper V goes straight to the next convolution. Here the host's norm and activation stand behind the
    convolution and follow V, one norm more (2 C parameters) than in the paper. `path_norm: false` leaves out those
    at the ends of the paths instead: U_i = conv_i(x), and the host's are the only ones.

    No linear layer has a bias, as in the released code. The start too is the code's: linear layers normal with
    deviation 0.01, so that the paths are nearly averaged; the new convolutions Kaiming normal over the fan-out.
    Training needs two images or more per batch, as the squeezed mean is batch-normalised.
    """

    alpha: nn.Parameter | None

    def __init__(
        self,
        conv: nn.Conv2d,
        *,
        reduction: Annotated[
            int, Field(ge=1, description="the hidden width is channels // reduction, but min_hidden or more")
        ] = 16,
        min_hidden: Annotated[int, Field(ge=1, description="the least hidden width")] = 32,
        num_paths: Annotated[int, Field(ge=2, le=8, description="convolutions, the i-th dilated i times")] = 2,
        path_norm: Annotated[
            bool, Field(description="batch norm and ReLU at the end of each path, before the selection")
        ] = True,
    ) -> None:
        super().__init__()
        channels = conv.out_channels
        hidden = _hidden(channels, reduction, min_hidden)
        _check(conv)
        self.weight, self.bias = conv.weight, conv.bias
        self.register_parameter("alpha", None)
        self.arguments = conv_arguments(conv)
        self.dilated = nn.ModuleList(_dilated(conv, times) for times in range(2, num_paths + 1))
        self.ends = nn.ModuleList(_end(channels) if path_norm else nn.Identity() for _ in range(num_paths))
        self.squeeze = nn.Sequential(_linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.choose = _linear(hidden, num_paths * channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the chosen mixture of the paths, in the shape of the convolution's answer."""
        convolved_BCHW = functional.conv2d(x_BCHW, self.weight, self.bias, **self.arguments)
        maps = [convolved_BCHW, *(conv(x_BCHW) for conv in self.dilated)]
        selected_BCHW = self._select([end(m) for end, m in zip(self.ends, maps, strict=True)])
        if self.alpha is None:
            return selected_BCHW
        return convolved_BCHW + self.alpha * (selected_BCHW - convolved_BCHW)

    def _select(self, maps: list[Tensor]) -> Tensor:
        """V, from the U_i."""
        # The mean of the sum is the sum of the means: U itself is never made.
        hidden_BR = self.squeeze(torch.stack([average(m) for m in maps]).sum(0))
        logits_BMC: Tensor = self.choose(hidden_BR).unflatten(1, (len(maps), -1))
        weights = logits_BMC.softmax(1).to(maps[0].dtype).unbind(1)
        selected_BCHW = maps[0] * weights[0][:, :, None, None]
        for m, weight_BC in zip(maps[1:], weights[1:], strict=True):
            selected_BCHW = torch.addcmul(selected_BCHW, m, weight_BC[:, :, None, None])
        return selected_BCHW

    def start_as_identity(self) -> None:
        """conv(x) + alpha (f(x) - conv(x)), alpha = 0 at first; conv(x) is the first path's and computed once."""
        self.alpha = nn.Parameter(torch.zeros(()))

    @staticmethod
    def effective(knobs: dict[str, Any], *, conv: ConvGeometry, **_: object) -> dict[str, Any]:
        """Describe what is built: a reduction and a least width act through the hidden width alone."""
        return {
            "hidden": _hidden(conv.out_channels, knobs["reduction"], knobs["min_hidden"]),
            "num_paths": knobs["num_paths"],
            "path_norm": knobs["path_norm"],
        }


def _hidden(channels: int, reduction: int, min_hidden: int) -> int:
    """d of eq. 4."""
    return max(hidden_width(channels, reduction), min_hidden)


def _check(conv: nn.Conv2d) -> None:
    check_plain("sk", conv)
    size = "x".join(map(str, conv.kernel_size))
    if max(conv.kernel_size) == 1:
        raise InputError(f"sk chooses among dilations, and dilation changes nothing in a {size} convolution")
    if any(r % 2 for r in reach(conv)):
        raise InputError(f"sk dilates around the kernel's middle, and a {size} kernel has no middle")


def _dilated(conv: nn.Conv2d, times: int) -> nn.Conv2d:
    """Return a new convolution like `conv`, dilated `times` as much, with the same size of answer."""
    padding = [p + (times - 1) * r // 2 for p, r in zip(zero_padding(conv), reach(conv), strict=True)]
    path = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        stride=(conv.stride[0], conv.stride[1]),
        padding=(padding[0], padding[1]),
        dilation=(times * conv.dilation[0], times * conv.dilation[1]),
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    init_conv(path)
    return path


def _end(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def _linear(channels: int, width: int) -> nn.Linear:
    layer = nn.Linear(channels, width, bias=False)
    nn.init.normal_(layer.weight, std=0.01)
    return layer
