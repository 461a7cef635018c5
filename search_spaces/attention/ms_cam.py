"""The multi-scale channel attention module.

Dai et al., 2021, Attentional Feature Fusion, arXiv:2009.14082, section 3; released code:
github.com/YimianDai/open-aff.
"""

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import Reduction, hidden_width, init_conv
from search_spaces.attention.ops.fused import add_to_channels, average
from search_spaces.attention.registry import register

Context = Annotated[
    Literal["global_local", "global_global", "local_local"],
    Field(description="what the two branches see: the mean over the positions (global) or each position (local)"),
]


class MultiScaleWeights(nn.Module):
    """M(X) = sigmoid(L(X) + g(X)), (B, C, H, W) (eq. 3).

    g(X) = BN(PWConv2(ReLU(BN(PWConv1(mean over the positions))))), (B, C, 1, 1);
    L(X) = the same of X itself, (B, C, H, W), with weights of its own (eq. 2).
    PWConv1: C -> C // r, PWConv2: C // r -> C, 1x1 with biases (the released code's; not said in the paper).

    `context` is the ablation of table 3: both branches pooled, or neither, with the same parameters.
    The start is that of the paper's table 2: Kaiming; biases 0. Training a pooled branch needs two images or
    more per batch.
    """

    def __init__(self, channels: int, reduction: int, context: str) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.pooled = tuple(scale == "global" for scale in context.split("_"))
        self.branches = nn.ModuleList(_branch(channels, hidden) for _ in self.pooled)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return weights in (0, 1), of the shape of x or, if both branches are pooled, (B, C, 1, 1)."""
        first, second = (
            branch(average(x_BCHW)[:, :, None, None] if pooled else x_BCHW)
            for pooled, branch in zip(self.pooled, self.branches, strict=True)
        )
        if self.pooled == (True, False):
            return add_to_channels(second, first.flatten(1)).sigmoid()
        logits: Tensor = first + second
        return logits.sigmoid()


def _branch(channels: int, hidden: int) -> nn.Sequential:
    reduce, expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
    init_conv(reduce)
    init_conv(expand)
    return nn.Sequential(reduce, nn.BatchNorm2d(hidden), nn.ReLU(), expand, nn.BatchNorm2d(channels))


def effective_weights(
    knobs: dict[str, Any], *, channels: int, resolution: tuple[int, int], **_: object
) -> dict[str, Any]:
    """Describe the `MultiScaleWeights` that is built: of one position the mean is the position itself."""
    return {
        "hidden": hidden_width(channels, knobs["reduction"]),
        "context": "any" if resolution == (1, 1) else knobs["context"],
    }


@register("ms_cam", kind="gate", paper="Dai et al., 2021, arXiv:2009.14082")
class MSCAM(nn.Module):
    """Multi-scale channel attention: weigh channels by their mean and by each position, added.

    X' = X M(X) (eq. 3); M is `MultiScaleWeights`.
    """

    def __init__(self, channels: int, *, reduction: Reduction = 4, context: Context = "global_local") -> None:
        super().__init__()
        self.weights = MultiScaleWeights(channels, reduction, context)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x weighed, (B, C, H, W)."""
        weights: Tensor = self.weights(x_BCHW)
        return x_BCHW * weights

    effective = staticmethod(effective_weights)
