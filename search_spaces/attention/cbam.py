"""The convolutional block attention module.

Woo et al., 2018, CBAM, arXiv:1807.06521, section 3; released code: github.com/Jongchan/attention-module,
cbam.py.
"""

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.layers import (
    OddSize,
    Reduction,
    hidden_width,
    init_conv,
    scale_channels,
    zero_bias,
)
from search_spaces.attention.ops.fused import (
    average,
    average_and_maximum,
    maximum_and_average_of_channels,
    scale_positions,
)
from search_spaces.attention.registry import register

Pooling = Literal["avg", "max", "avg+max"]


@register("cbam", kind="gate", paper="Woo et al., 2018, arXiv:1807.06521")
class CBAM(nn.Module):
    """Convolutional block attention: weigh the channels, then the positions.

    F' = Mc(F) F, Mc = sigmoid(MLP(mean over H, W) + MLP(max over H, W)), one MLP C -> C // r -> C with biases
    (eq. 1, 2);
    F'' = Ms(F') F', Ms = sigmoid(BN(conv_k([max over C; mean over C]))), without bias (eq. 1, 3).

    The batch norm in Ms (momentum 0.01) and the order of its two inputs are the released code's; eq. 3 has no
    norm. The start too is the code's: that norm's weight is 0 (Ms = 1/2 everywhere), biases are 0.

    AW's tables use `spatial: false` ("MaxPool") and `pooling: avg` ("Spatial").
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Reduction = 16,
        pooling: Annotated[
            Pooling, Field(description="what the channel weights are computed from: mean, maximum or both")
        ] = "avg+max",
        spatial: Annotated[bool, Field(description="weigh the positions too, after the channels")] = True,
        kernel_size: Annotated[int, Field(ge=1, description="size of the spatial convolution; odd"), OddSize] = 7,
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)
        zero_bias(self.squeeze)
        zero_bias(self.excite)
        self.pooling = pooling
        self.spatial = _SpatialWeights(kernel_size) if spatial else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x with its channels, then its positions weighed, (B, C, H, W)."""
        weighed_BCHW = scale_channels(x_BCHW, self._channel_weights(x_BCHW))
        return weighed_BCHW if self.spatial is None else scale_positions(weighed_BCHW, self.spatial(weighed_BCHW))

    def _channel_weights(self, x_BCHW: Tensor) -> Tensor:
        if self.pooling == "avg":
            return self._mlp(average(x_BCHW)).sigmoid()
        mean_BC, max_BC = average_and_maximum(x_BCHW)
        if self.pooling == "max":
            return self._mlp(max_BC).sigmoid()
        return (self._mlp(mean_BC) + self._mlp(max_BC)).sigmoid()

    def _mlp(self, pooled_BC: Tensor) -> Tensor:
        logits_BC: Tensor = self.excite(functional.relu(self.squeeze(pooled_BC)))
        return logits_BC

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, resolution: tuple[int, int], **_: object) -> dict[str, Any]:
        """Describe what is built: of one position the mean is the maximum; no spatial part has no kernel
        size."""
        one_position = resolution == (1, 1) and knobs["pooling"] == "max"
        built = {
            "hidden": hidden_width(channels, knobs["reduction"]),
            "pooling": "avg" if one_position else knobs["pooling"],
            "spatial": knobs["spatial"],
        }
        return built | ({"kernel_size": knobs["kernel_size"]} if knobs["spatial"] else {})


class _SpatialWeights(nn.Module):
    """Ms of eq. 3, (B, 1, H, W)."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)
        init_conv(self.conv)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_B1HW: Tensor = self.norm(self.conv(maximum_and_average_of_channels(x_BCHW)))
        return logits_B1HW.sigmoid()
