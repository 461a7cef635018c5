"""Efficient channel attention.

Wang et al., 2020, ECA-Net, arXiv:1910.03151, section 3.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import OddSize, scale_channels
from search_spaces.attention.ops.fused import average
from search_spaces.attention.registry import register


@register("eca", kind="gate", paper="Wang et al., 2020, arXiv:1910.03151")
class ECA(nn.Module):
    """Efficient channel attention: weigh each channel by a 1-D convolution over the channels' means.

    w = sigmoid(conv1d_k(z)), z = mean of x over the positions; x' = w x (section 3.2). The convolution runs
    over the channels in their order, zero-padded, without bias: k parameters.

    The paper also offers a size by width, k = |log2(C) / 2 + 1/2| to the nearest odd; here k is given, as in
    the released networks, which have k = 3 in every block of ResNet-50 and 101.
    """

    def __init__(
        self,
        channels: int,  # noqa: ARG002 (the positional part of every gate; k does not depend on it)
        *,
        kernel_size: Annotated[
            int, Field(ge=1, description="channels that the convolution sees at once; odd"), OddSize
        ] = 3,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x with its channels weighed, (B, C, H, W)."""
        logits_B1C: Tensor = self.conv(average(x_BCHW).unsqueeze(1))
        return scale_channels(x_BCHW, logits_B1C.squeeze(1).sigmoid())
