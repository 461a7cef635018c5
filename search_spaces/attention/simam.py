"""SimAM, an attention without parameters.

Yang et al., 2021, SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks (ICML),
section 3; released code: github.com/ZjjConan/SimAM, networks/attentions/simam_module.py.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.ops.fused import add_to_channels, average
from search_spaces.attention.registry import register


@register("simam", kind="gate", paper="Yang et al., 2021, SimAM, ICML")
class SimAM(nn.Module):
    """SimAM: weigh each value by how far it stands out of its channel; no parameters.

    x' = x sigmoid(1 / e), 1 / e = (x - mean)^2 / (4 (v + lambda)) + 1/2, the inverse of the least energy (eq. 5);
    mean and v = sum (x - mean)^2 / (H W - 1) over the positions of the channel.

    The paper's v divides by H W, the released code's, followed here, by H W - 1. Of a single position v is 0 (there
    the code divides 0 by 0). The released CIFAR networks have lambda 0.0001, the ImageNet ones 0.1.
    """

    def __init__(
        self,
        channels: int,  # noqa: ARG002 (the positional part of every gate; there is nothing to size)
        *,
        e_lambda: Annotated[float, Field(gt=0, description="lambda, what is added to each variance")] = 1e-4,
    ) -> None:
        super().__init__()
        self.e_lambda = e_lambda

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x weighed, (B, C, H, W)."""
        positions = x_BCHW.shape[2] * x_BCHW.shape[3]
        squares_BCHW = add_to_channels(x_BCHW, -average(x_BCHW)).square()
        variance_BC = average(squares_BCHW) * (positions / max(positions - 1, 1))
        slope_BC11 = (0.25 / (variance_BC + self.e_lambda))[:, :, None, None]
        # One pass for the product and the 1/2; the sigmoid may then overwrite it.
        half_BC11 = torch.full_like(slope_BC11, 0.5)
        return x_BCHW * torch.addcmul(half_BC11, squares_BCHW, slope_BC11).sigmoid_()

    @staticmethod
    def effective(knobs: dict[str, Any], *, resolution: tuple[int, int], **_: object) -> dict[str, Any]:
        """Describe what is built: a single position is its own mean, whatever lambda is."""
        return {} if resolution == (1, 1) else {"e_lambda": knobs["e_lambda"]}
