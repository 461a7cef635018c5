"""Attentional feature fusion and its iterated form.

Dai et al., 2021, Attentional Feature Fusion, arXiv:2009.14082, section 4; released code:
github.com/YimianDai/open-aff (model/fusion.py: ASKCFuse, ResGlobLocaforGlobLocaChaFuse).

Which input gets M: in eq. 4, Z = M(X + Y) X + (1 - M(X + Y)) Y, and the paper's convention gives Y the larger
receptive field: in a residual block X is the shortcut and Y the branch. So M weighs the shortcut here. The
released code calls it with the branch as X. As 1 - sigmoid(z) = sigmoid(-z), the two differ by the sign of
the logits alone; the last layers (batch norm of a convolution with a symmetric start) take both signs with
equal probability, so they train alike, but the code's trained weights do not carry over.
"""

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import Reduction
from search_spaces.attention.ms_cam import Context, MultiScaleWeights, effective_weights
from search_spaces.attention.ops.fused import select
from search_spaces.attention.registry import register


@register("aff", kind="merge", paper="Dai et al., 2021, arXiv:2009.14082")
class AFF(nn.Module):
    """Attentional feature fusion: a learned soft choice between shortcut and branch, not their sum.

    Z = M X + (1 - M) Y with M = M(X + Y), X the shortcut, Y the branch (eq. 4; see the file's caption).

    `factor: 2` doubles Z as the released code does ("keeps the total weight as in addition", its author); the
    paper has 1.
    """

    gate_part = "weights"

    def __init__(
        self,
        channels: int,
        *,
        reduction: Reduction = 4,
        context: Context = "global_local",
        factor: Annotated[int, Field(ge=1, le=2, description="1 as in the paper, 2 as in the released code")] = 1,
    ) -> None:
        super().__init__()
        self.weights = MultiScaleWeights(channels, reduction, context)
        self.factor = factor

    def forward(self, branch_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """Return the merged map, (B, C, H, W)."""
        merged_BCHW = select(self.weights(branch_BCHW + shortcut_BCHW), shortcut_BCHW, branch_BCHW)
        return merged_BCHW if self.factor == 1 else self.factor * merged_BCHW

    @staticmethod
    def effective(knobs: dict[str, Any], **site: Any) -> dict[str, Any]:
        """Describe what is built."""
        return {**effective_weights(knobs, **site), "factor": knobs["factor"]}


@register("iaff", kind="merge", paper="Dai et al., 2021, arXiv:2009.14082")
class IAFF(nn.Module):
    """Iterated attentional feature fusion: AFF whose weights are computed from a first AFF, not the sum.

    X (+) Y = M1 X + (1 - M1) Y with M1 = M1(X + Y) (eq. 5); Z = M2 X + (1 - M2) Y with M2 = M2(X (+) Y).
    M1 and M2 have weights of their own. (The PyTorch port uses M1's global branch twice, a bug: issue 31 of
    its repository.) There is no factor 2, in the code either.
    """

    gate_part = "weights"

    def __init__(self, channels: int, *, reduction: Reduction = 4, context: Context = "global_local") -> None:
        super().__init__()
        self.first_weights = MultiScaleWeights(channels, reduction, context)
        self.weights = MultiScaleWeights(channels, reduction, context)

    def forward(self, branch_BCHW: Tensor, shortcut_BCHW: Tensor) -> Tensor:
        """Return the merged map, (B, C, H, W)."""
        first_BCHW = select(self.first_weights(branch_BCHW + shortcut_BCHW), shortcut_BCHW, branch_BCHW)
        return select(self.weights(first_BCHW), shortcut_BCHW, branch_BCHW)

    effective = staticmethod(effective_weights)
