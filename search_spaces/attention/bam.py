"""The bottleneck attention module.

Park et al., 2020, A Simple and Light-Weight Attention Module for Convolutional Neural Networks (IJCV; the
journal version of BAM, arXiv:1807.06514), section 3; released code: github.com/Jongchan/attention-module,
bam.py.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import Reduction, hidden_width, init_conv, scale_channels, zero_bias
from search_spaces.attention.ops.fused import add_share, average, join, scale_positions
from search_spaces.attention.registry import register

Branches = Literal["both", "channel", "spatial"]
Combine = Literal["sum", "product", "max", "sigmoid_sum"]
Norm = Literal["all", "hidden"]

_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": torch.add,
    "product": torch.mul,
    "max": torch.maximum,
    "sigmoid_sum": torch.add,
}


@register("bam", kind="gate", paper="Park et al., 2020, arXiv:1807.06514 and IJCV")
class BAM(nn.Module):
    """Bottleneck attention: weigh every channel at every position by a channel and a dilated spatial branch.

    F' = F + F M(F) (eq. 1), M = sigmoid(Mc + Ms) (eq. 2), broadcast to (B, C, H, W).
    Mc = BN(W1 ReLU(BN(W0 z + b0)) + b1), z = mean of F over the positions, W0: C -> C // r, W1: C // r -> C
    (eq. 3).
    Ms = BN(f1x1(f3x3(f3x3(f1x1(F))))), C -> C // r -> C // r -> C // r -> 1, the 3x3 dilated by d and padded
    to keep the size (eq. 4), each but the last followed by BN and ReLU; all with biases.

    The paper writes a BN at each branch's end and no activation; the released code has BN and ReLU after the
    hidden layers and none at the ends. The printed counts want those at the ends (ResNet-50 + BAM on
    CIFAR-100: 24.07M is 24,066,909 with them, 24,063,319 without), and the ReLU can only be the code's:
    `norm: all` is both, `hidden` the code.

    `combine`: the code has the product where the paper has, and prefers (table 1b), the sum. `sigmoid_sum` is
    sigmoid(Mc) + sigmoid(Ms). `branches` and `identity` are the ablations of table 1b; one branch is sigmoid
    of it alone.

    The start is the code's: convolutions Kaiming normal over the fan-out, biases 0.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Reduction = 16,
        dilation: Annotated[int, Field(ge=1, description="dilation of the spatial branch's 3x3 convolutions")] = 4,
        num_dilated: Annotated[int, Field(ge=1, le=16, description="3x3 convolutions in the spatial branch")] = 2,
        branches: Annotated[Branches, Field(description="which branches there are")] = "both",
        combine: Annotated[
            Combine,
            Field(description="sigmoid of the branches' sum, product or maximum, or the sum of their sigmoids"),
        ] = "sum",
        identity: Annotated[bool, Field(description="x + x * weights (true) or x * weights (false)")] = True,
        norm: Annotated[
            Norm,
            Field(description="batch norm after the hidden layers (hidden), and at the branches' ends too (all)"),
        ] = "all",
    ) -> None:
        super().__init__()
        hidden, end = hidden_width(channels, reduction), norm == "all"
        self.channel = None if branches == "spatial" else _channel_branch(channels, hidden, end)
        self.spatial = None if branches == "channel" else _spatial_branch(channels, hidden, end, dilation, num_dilated)
        self.combine = combine
        self.identity = identity

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x with every channel at every position weighed, (B, C, H, W)."""
        if self.spatial is None:
            assert self.channel is not None
            weights_BC = self.channel(average(x_BCHW)).sigmoid()
            return scale_channels(x_BCHW, 1 + weights_BC if self.identity else weights_BC)
        spatial_B1HW: Tensor = self.spatial(x_BCHW)
        if self.channel is None:
            weights_B1HW = spatial_B1HW.sigmoid()
            return scale_positions(x_BCHW, 1 + weights_B1HW if self.identity else weights_B1HW)
        weights_BCHW = self._combined(self.channel(average(x_BCHW)), spatial_B1HW, x_BCHW)
        return add_share(x_BCHW, weights_BCHW) if self.identity else x_BCHW * weights_BCHW

    def _combined(self, channel_BC: Tensor, spatial_B1HW: Tensor, x_BCHW: Tensor) -> Tensor:
        """Return M of both branches, (B, C, H, W)."""
        if self.combine == "sigmoid_sum":
            return join(torch.add, channel_BC.sigmoid(), spatial_B1HW.sigmoid(), x_BCHW)
        return join(_OPERATIONS[self.combine], channel_BC, spatial_B1HW, x_BCHW).sigmoid()

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, resolution: tuple[int, int], **_: object) -> dict[str, Any]:
        """Describe what is built: a missing branch has no knobs; beyond the map's size every dilation is
        one."""
        built = {"hidden": hidden_width(channels, knobs["reduction"])}
        built |= {knob: knobs[knob] for knob in ("branches", "norm", "identity")}
        if knobs["branches"] == "both":
            built["combine"] = knobs["combine"]
        if knobs["branches"] != "channel":
            # From there on the outer taps see padding only.
            built["dilation"] = min(knobs["dilation"], max(resolution))
            built["num_dilated"] = knobs["num_dilated"]
        return built


def _channel_branch(channels: int, hidden: int, end: bool) -> nn.Sequential:
    """Mc of eq. 3, (B, C) -> (B, C)."""
    first, last = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
    zero_bias(first)
    zero_bias(last)
    branch = nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(), last)
    return branch.append(nn.BatchNorm1d(channels)) if end else branch


def _spatial_branch(channels: int, hidden: int, end: bool, dilation: int, num_dilated: int) -> nn.Sequential:
    """Ms of eq. 4, (B, C, H, W) -> (B, 1, H, W)."""
    dilated = [nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation) for _ in range(num_dilated)]
    branch = nn.Sequential()
    for conv in (nn.Conv2d(channels, hidden, 1), *dilated):
        branch.extend((conv, nn.BatchNorm2d(hidden), nn.ReLU()))
    branch.append(nn.Conv2d(hidden, 1, 1))
    for layer in branch:
        if isinstance(layer, nn.Conv2d):
            init_conv(layer)
    return branch.append(nn.BatchNorm2d(1)) if end else branch
