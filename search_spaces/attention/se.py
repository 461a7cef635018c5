"""Squeeze-and-excitation.

Hu et al., 2018, Squeeze-and-Excitation Networks, arXiv:1709.01507, section 3.
"""

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.layers import GATES, GateName, Reduction, hidden_width, scale_channels
from search_spaces.attention.ops.fused import average
from search_spaces.attention.registry import register


@register("se", kind="gate", paper="Hu et al., 2018, arXiv:1709.01507")
class SE(nn.Module):
    """Squeeze-and-excitation: weigh each channel by a two-layer network of all channels' means.

    s = sigmoid(W2 ReLU(W1 z)), z = mean of x over the positions (eq. 2, 3); x' = s x (eq. 4).
    W1: C -> C // r, W2: C // r -> C.

    `bias`: papers and code differ. Counts printed for AW and BAM have biases in both layers (SE-ResNet-50:
    28,088,024), those for BA-Net and CAT have none (28,071,976). `gate`: hard_sigmoid is MobileNetV3's.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Reduction = 16,
        bias: Annotated[bool, Field(description="both linear layers have biases")] = True,
        gate: GateName = "sigmoid",
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)
        self.gate = GATES[gate]()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x with its channels weighed, (B, C, H, W)."""
        hidden_BR = functional.relu(self.squeeze(average(x_BCHW)))
        return scale_channels(x_BCHW, self.gate(self.excite(hidden_BR)))

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, **_: object) -> dict[str, Any]:
        """Describe what is built: a reduction acts through the hidden width alone."""
        return {
            "hidden": hidden_width(channels, knobs["reduction"]),
            "bias": knobs["bias"],
            "gate": knobs["gate"],
        }
