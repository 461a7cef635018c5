"""The strategies that attentional feature fusion is compared with.

Dai et al., 2021, Attentional Feature Fusion, arXiv:2009.14082, tables 1 and 4. As in the paper, Y has the larger
receptive field: in a residual block X is the shortcut and Y the branch. M is the multi-scale channel attention of
`ms_cam` in the place of each strategy's own attention, so that they differ from `aff` in the strategy alone and have
its parameter count. The first row, addition, is the site without a module. No code of these is released.
"""

from torch import Tensor, nn

from search_spaces.attention.layers import Reduction
from search_spaces.attention.ms_cam import Context, MultiScaleWeights, effective_weights
from search_spaces.attention.registry import register


class _MultiScaleMerge(nn.Module):
    """A merge with one M."""

    gate_part = "weights"

    def __init__(self, channels: int, *, reduction: Reduction = 4, context: Context = "global_local") -> None:
        super().__init__()
        self.weights = MultiScaleWeights(channels, reduction, context)

    effective = staticmethod(effective_weights)


@register("ms_gau", kind="merge", paper="Dai et al., 2021, arXiv:2009.14082")
class MSGAU(_MultiScaleMerge):
    """Multi-scale global attention upsampling: the branch weighs the shortcut.

    Z = M(Y) X + Y, X the shortcut, Y the branch (table 1, modulation; the weights see one of the two).
    """

    def forward(self, branch_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """Return the merged map, (B, C, H, W)."""
        weights: Tensor = self.weights(branch_BCHW)
        return weights * shortcut_BCHW + branch_BCHW


@register("ms_se", kind="merge", paper="Dai et al., 2021, arXiv:2009.14082")
class MSSE(_MultiScaleMerge):
    """Multi-scale squeeze-and-excitation: the branch weighs itself.

    Z = X + M(Y) Y, X the shortcut, Y the branch (table 1, refinement; the weights see one of the two). It is what
    `ms_cam` at the end of the branch builds.
    """

    def forward(self, branch_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """Return the merged map, (B, C, H, W)."""
        weights: Tensor = self.weights(branch_BCHW)
        return weights * branch_BCHW + shortcut_BCHW


@register("ms_sa", kind="merge", paper="Dai et al., 2021, arXiv:2009.14082")
class MSSA(_MultiScaleMerge):
    """Multi-scale spatial attention: both weigh the shortcut.

    Z = M(X + Y) X + Y, X the shortcut, Y the branch (table 1, modulation; the weights see both). The paper writes
    G(X, Y); the sum, as in `aff`, keeps the parameter budget that table 4 compares under, concatenating would not.
    """

    def forward(self, branch_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """Return the merged map, (B, C, H, W)."""
        weights: Tensor = self.weights(branch_BCHW + shortcut_BCHW)
        return weights * shortcut_BCHW + branch_BCHW


@register("concat", kind="merge", paper="Dai et al., 2021, arXiv:2009.14082")
class Concat(nn.Module):
    """Concatenation: a learned linear map of shortcut and branch together, the same at each position.

    Z = W [X; Y] = W_A X + W_B Y, X the shortcut, Y the branch (table 1); W: 2C -> C, 1x1. Made as the two
    convolutions W_A and W_B, which spares the concatenated map.

    No bias and no norm, as table 1 has none: what follows a merge is the host's. The start is Kaiming normal over W's
    fan-in, 2C (the paper has Kaiming): it gives Z the variance of X + Y, so that depth acts as in the host.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(channels, channels, 1, bias=False)
        self.branch = nn.Conv2d(channels, channels, 1, bias=False)
        for conv in (self.shortcut, self.branch):
            # Kaiming's variance is 2 / fan-in.
            nn.init.normal_(conv.weight, std=channels**-0.5)

    def forward(self, branch_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """Return the merged map, (B, C, H, W)."""
        from_shortcut_BCHW: Tensor = self.shortcut(shortcut_BCHW)
        from_branch_BCHW: Tensor = self.branch(branch_BCHW)
        # Under autocast convolutions answer in bfloat16, and a merge in the type of its inputs.
        return (from_shortcut_BCHW + from_branch_BCHW).to(branch_BCHW.dtype)
