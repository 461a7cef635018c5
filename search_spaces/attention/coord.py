"""Coordinate attention.

Hou et al., 2021, Coordinate Attention for Efficient Mobile Network Design, arXiv:2103.02907, section 3.2;
released code: github.com/houqb/CoordAttention, coordatt.py and mbv2_ca.py.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.layers import hidden_width, zero_bias
from search_spaces.attention.registry import register


@register("coord", kind="gate", paper="Hou et al., 2021, arXiv:2103.02907")
class CoordinateAttention(nn.Module):
    """Coordinate attention: weigh each channel by its row's and by its column's mean.

    x'_c(i, j) = x_c(i, j) g^h_c(i) g^w_c(j) (eq. 9), g^h = sigmoid(F_h f^h), g^w = sigmoid(F_w f^w) (eq. 7, 8),
    [f^h, f^w] = h_swish(BN(F_1 [z^h, z^w])) (eq. 6), z^h the means of the H rows (eq. 4), z^w of the W columns
    (eq. 5), one after the other: F_1 and its BN see H + W positions.
    F_1: C -> m, F_h, F_w: m -> C, 1x1 with biases, m = max(min_hidden, C // reduction);
    h_swish(v) = v ReLU6(v + 3) / 6.

    The least width of 8, the h_swish and the biases are the released code's; the paper has C // r. The start is the
    code's MobileNetV2's: Kaiming normal over the fan-out, biases 0.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Annotated[
            int, Field(ge=1, description="the hidden width is channels // reduction, but min_hidden or more")
        ] = 32,
        min_hidden: Annotated[int, Field(ge=1, description="the least hidden width")] = 8,
    ) -> None:
        super().__init__()
        hidden = _hidden(channels, reduction, min_hidden)
        # Linear layers over (positions, channels) are the 1x1 convolutions.
        self.squeeze = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.rows = nn.Linear(hidden, channels)
        self.columns = nn.Linear(hidden, channels)
        for layer in (self.squeeze, self.rows, self.columns):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            zero_bias(layer)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x weighed by row and by column, (B, C, H, W)."""
        # With the channels last: sums over a row or a column, here and in the backward pass, are then 2 to 4
        # times faster for channels_last maps and no slower for others. Sum / n for the mean, as in bf16 a mean
        # on a CPU first copies the map to float32.
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        batch, height, width, _ = x_BHWC.shape
        means_BPC = torch.cat((x_BHWC.sum(2) / width, x_BHWC.sum(1) / height), 1)
        hidden_NR = functional.hardswish(self.norm(self.squeeze(means_BPC.flatten(0, 1))))
        hidden_BPR = hidden_NR.view(batch, height + width, -1)
        rows_BHR, columns_BWR = hidden_BPR[:, :height], hidden_BPR[:, height:]
        weighed_BHWC: Tensor = x_BHWC * self.columns(columns_BWR).sigmoid()[:, None]
        weighed_BHWC = weighed_BHWC * self.rows(rows_BHR).sigmoid()[:, :, None]
        return weighed_BHWC.permute(0, 3, 1, 2)

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, **_: object) -> dict[str, Any]:
        """Describe what is built: both knobs act through the hidden width alone."""
        return {"hidden": _hidden(channels, knobs["reduction"], knobs["min_hidden"])}


def _hidden(channels: int, reduction: int, min_hidden: int) -> int:
    """m; a least width of 1 is none, and then a reduction above the channels is refused."""
    return hidden_width(channels, reduction) if min_hidden == 1 else max(min_hidden, channels // reduction)
