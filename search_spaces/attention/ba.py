"""Bridge attention.

Zhao et al., 2021, BA-Net: Bridge Attention for Deep Convolutional Neural Networks, arXiv:2112.04150, section
3; released code: github.com/zhaoy376/Bridge-Attention, BA_module.py.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import (
    ACTIVATIONS,
    GATES,
    GateName,
    Reduction,
    average,
    hidden_width,
    scale_channels,
)
from search_spaces.attention.registry import register
from search_spaces.errors import InputError

Bridges = Literal["all", "first", "last"]
Activation = Literal["relu", "silu"]


@register("ba", kind="bridge", paper="Zhao et al., 2021, arXiv:2112.04150")
class BA(nn.Module):
    """Bridge attention: squeeze-and-excitation that also reads the block's earlier convolutions.

    w = sigmoid(W ReLU(sum_i S_i)) (eq. 3, 10), S_i = BN_i(W_i z_i) (eq. 9), z_i = mean of X_i over the
    positions; X_n' = w X_n.
    X_1 .. X_(n-1) are the bridged tensors (`sources`) and may differ in width and size, X_n is x;
    W_i: C_i -> C_n // r, W: C_n // r -> C_n, none with bias (BA-ResNet-50: 28,706,376 parameters).

    The bridged tensors are taken after their norm and activation, x after its norm, as in the released code;
    the paper says "outputs". `bridges` gives table 1's rows on a bottleneck: `first` is (curr, conv1), `last`
    is (curr, conv2), `all` is (curr, conv1&2). Its rows with the previous block's tensors are not made here.
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
            Field(description="which earlier convolutions of the block are read: all, its first, the latest"),
        ] = "all",
        activation: Annotated[Activation, Field(description="between the two layers")] = "relu",
        gate: GateName = "sigmoid",
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.bridged = _bridged(bridges, len(source_channels))
        widths = [source_channels[i] for i in self.bridged]
        self.bridge = nn.ModuleList(_squeeze(width, hidden) for width in widths)
        self.own = _squeeze(channels, hidden)
        self.excite = nn.Linear(hidden, channels, bias=False)
        self.activation = ACTIVATIONS[activation]()
        self.gate = GATES[gate]()

    def forward(self, x_BCHW: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Return x with its channels weighed, (B, C, H, W); `sources` are (B, C_i, H_i, W_i), in network
        order."""
        hidden_BR: Tensor = self.own(average(x_BCHW))
        for i, squeeze in zip(self.bridged, self.bridge, strict=True):
            hidden_BR = hidden_BR + squeeze(average(sources[i]))
        return scale_channels(x_BCHW, self.gate(self.excite(self.activation(hidden_BR))))

    @staticmethod
    def effective(
        knobs: dict[str, Any], *, channels: int, source_channels: tuple[int, ...], **_: object
    ) -> dict[str, Any]:
        """Describe what is built: of one source, the first and the latest are all."""
        return {
            "hidden": hidden_width(channels, knobs["reduction"]),
            "bridged": _bridged(knobs["bridges"], len(source_channels)),
            "activation": knobs["activation"],
            "gate": knobs["gate"],
        }


def _bridged(bridges: str, num_sources: int) -> tuple[int, ...]:
    """Return the positions of the sources that are read."""
    if num_sources == 0:
        raise InputError("ba bridges earlier convolutions of the block, and there is none; without them it is `se`")
    return {"all": tuple(range(num_sources)), "first": (0,), "last": (num_sources - 1,)}[bridges]


def _squeeze(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden, bias=False), nn.BatchNorm1d(hidden))
