"""Bridge attention.

Zhao et al., 2021, BA-Net: Bridge Attention for Deep Convolutional Neural Networks, arXiv:2112.04150, section
3; released code: github.com/zhaoy376/Bridge-Attention, BA_module.py.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import ACTIVATIONS, GATES, GateName, Reduction, hidden_width, scale_channels
from search_spaces.attention.ops.fused import average
from search_spaces.attention.registry import register
from search_spaces.errors import InputError

Bridges = Literal["all", "first", "last", "previous_conv", "previous_end", "previous_attention"]
Activation = Literal["relu", "silu"]


@register("ba", kind="bridge", paper="Zhao et al., 2021, arXiv:2112.04150")
class BA(nn.Module):
    """Bridge attention: squeeze-and-excitation that also reads the block's earlier convolutions.

    X_n' = w X_n with the weights w of `BridgeWeights`; X_n is x, and X_1 .. X_(n-1) are the bridged tensors
    (`sources`), which may differ in width and size.

    The bridged tensors are taken after their norm and activation, x after its norm, as in the released code;
    the paper says "outputs". `bridges` gives every row of table 1. On a bottleneck `first` is (curr, conv1),
    `last` (curr, conv2) and `all` (curr, conv1&2). `previous_conv` is (prev, conv3), type conv: the block
    before, its last convolution after its norm and before its attention; `previous_attention` the same, type
    att: the weights of the `ba` that stands there, 1 where none does; `previous_end` (prev, end). They cross
    the borders of stages, and the first block reads the stem's output (29,158,120 parameters on ResNet-50;
    inside stages alone it would be 28.98M, and the paper prints 29.16M).

    The code's MobileNetV3 has `reduction: 6` and `hard_sigmoid`, its EfficientNet `reduction: 6` and `silu`.

    Training needs two images or more per batch, as each mean is batch-normalised.
    """

    def __init__(
        self,
        channels: int,
        source_channels: tuple[int, ...],
        *,
        reduction: Reduction = 16,
        bridges: Annotated[
            Bridges,
            Field(
                description="which earlier convolutions of the block are read (all, its first, the latest), "
                "or what of the block before"
            ),
        ] = "all",
        activation: Annotated[Activation, Field(description="between the two layers")] = "relu",
        gate: GateName = "sigmoid",
    ) -> None:
        super().__init__()
        read = _read(bridges, len(source_channels))
        self.weigh = BridgeWeights(channels, source_channels, read, hidden_width(channels, reduction), activation, gate)

    def forward(self, x_BCHW: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Return x with its channels weighed, (B, C, H, W); `sources` are (B, C_i, H_i, W_i), in network
        order."""
        return scale_channels(x_BCHW, self.weigh(x_BCHW, sources))

    def start_as_identity(self) -> None:
        """x (1 + alpha (w - 1)), on the weights, not on the maps."""
        self.weigh.alpha = nn.Parameter(torch.zeros(()))

    @staticmethod
    def bridge_from(knobs: dict[str, Any]) -> str:
        """Say what is bridged."""
        return str(knobs["bridges"]) if knobs["bridges"].startswith("previous") else "block"

    @staticmethod
    def effective(
        knobs: dict[str, Any], *, channels: int, source_channels: tuple[int, ...], **_: object
    ) -> dict[str, Any]:
        """Describe what is built: of one source, the first and the latest are all."""
        return {
            "hidden": hidden_width(channels, knobs["reduction"]),
            "from": BA.bridge_from(knobs),
            "bridged": _read(knobs["bridges"], len(source_channels)),
            "activation": knobs["activation"],
            "gate": knobs["gate"],
        }


class BridgeWeights(nn.Module):
    """The channel weights of bridge attention, (B, C).

    w = sigmoid(W ReLU(sum_i S_i)) (eq. 3, 10), S_i = BN_i(W_i z_i) (eq. 9), z_i = mean of X_i over the
    positions. W_i: C_i -> C_n // r, W: C_n // r -> C_n, none with bias (BA-ResNet-50: 28,706,376 parameters).
    A module of its own, since a later block may bridge the weights themselves.
    """

    alpha: Tensor | None

    def __init__(
        self,
        channels: int,
        source_channels: tuple[int, ...],
        read: tuple[int, ...],
        hidden: int,
        activation: str,
        gate: str,
    ) -> None:
        super().__init__()
        self.read = read
        self.bridge = nn.ModuleList(_squeeze(source_channels[i], hidden) for i in read)
        self.own = _squeeze(channels, hidden)
        self.excite = nn.Linear(hidden, channels, bias=False)
        self.activation = ACTIVATIONS[activation]()
        self.gate = GATES[gate]()
        self.alpha = None

    def forward(self, x_BCHW: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Return the weights of x's channels."""
        hidden_BR: Tensor = self.own(average(x_BCHW))
        for i, squeeze in zip(self.read, self.bridge, strict=True):
            hidden_BR = hidden_BR + squeeze(average(sources[i]))
        weights_BC: Tensor = self.gate(self.excite(self.activation(hidden_BR)))
        return weights_BC if self.alpha is None else 1 + self.alpha * (weights_BC - 1)


def _read(bridges: str, num_sources: int) -> tuple[int, ...]:
    """Return the positions of the sources that are read."""
    if num_sources == 0:
        raise InputError("ba bridges earlier convolutions of the block, and there is none; without them it is `se`")
    return {"first": (0,), "last": (num_sources - 1,)}.get(bridges, tuple(range(num_sources)))


def _squeeze(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden, bias=False), nn.BatchNorm1d(hidden))
