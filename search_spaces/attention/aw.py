"""The AW-convolution: attention on the weights of a convolution.

Baozhou et al., 2021, An Attention Module for Convolutional Neural Networks, arXiv:2108.08205, section 3. No code
was released.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.convolutions import check_plain, reach, zero_padding
from search_spaces.attention.layers import Reduction, hidden_width
from search_spaces.attention.ops.aw_forms import Geometry, convolve, pool
from search_spaces.attention.registry import ConvGeometry, register
from search_spaces.errors import InputError

InputShare = Annotated[
    Annotated[int, Field(ge=1)] | Literal["all"],
    Field(description="how many input channels share a value of the map; must divide those of a group; all: all"),
]


@register("aw", kind="weights", paper="Baozhou et al., 2021, arXiv:2108.08205")
class AW(nn.Module):
    """AW-convolution: weigh the weights of a convolution, image by image, by a network of the pooled input.

    A0 = mean of I over an h x w grid of windows (adaptive average pooling), (N, C1, h, w)
    A  = Expand(sigmoid(BN(W2 ReLU(BN(W1 A0)))))                              (eq. 7, 8)
    O[l] = conv(I[l], AK[l]), AK = K + A K, or A K without `residual`         (eq. 5, 6)
    I: (N, C1, H, W); K: (C2, C1, h, w); A, AK: (N, C2, C1, h, w); W1: C1 -> C1 // reduction and
    W2: C1 // reduction -> C2 C1 / (r_c1 r_c2) are 1x1 and without bias. Expand repeats each value for `r_c2`
    output channels, `r_c1` input channels and `r_hw` x `r_hw` taps.

    By default, as in all of the paper's results, A does not depend on the input channel (`r_c1` = C1), and
    AW-ResNet-50 has 25,722,240 parameters, the printed 25.72 million.

    What the paper does not say, and what is done here:
    - The grid of the pooling. That of the kernel, since W1 and W2 are 1x1 and A has a value for each tap.
    - Biases of W1 and W2, and the order within F1. None (they would make 25.73 million; without batch norm it
      would be 25.71), and the order of its text, as eq. 7 leaves batch norm and ReLU out.
    - `r_hw` other than 1. I is pooled to (h / r_hw, w / r_hw), and each value serves r_hw x r_hw neighbouring taps.
    - Strides and dilations. They belong to the convolution alone; A does not depend on them.
    - Groups. K is (C2, C1 / groups, h, w) and so is A of an image, from all C1 input channels; `all` means the
      C1 / groups input channels of a group. A depthwise convolution has one, so r_c1 = 1 is all of them.
    - A bias of the convolution. It is kept and added to O, without attention.
    Padding other than with zeros is refused: where a tap reads past the edge, the forms of `aw_forms` add nothing.

    Training a 1x1 convolution needs two images or more per batch, as its pooled map has one position.
    """

    gate_part = "attend"
    alpha: nn.Parameter | None

    def __init__(
        self,
        conv: nn.Conv2d,
        *,
        reduction: Reduction = 16,
        r_c1: InputShare = "all",
        r_c2: Annotated[
            int, Field(ge=1, description="how many output channels share a value of the map; must divide them")
        ] = 1,
        r_hw: Annotated[
            int, Field(ge=1, description="how many taps share a value, along each axis; must divide the kernel's size")
        ] = 1,
        residual: Annotated[bool, Field(description="K + A K, not A K")] = True,
    ) -> None:
        super().__init__()
        check_plain("aw", conv)
        hidden = hidden_width(conv.in_channels, reduction)
        per_group = _input_share(r_c1, ConvGeometry.of(conv))
        _check_divides("r_c2", r_c2, "output channels", conv.out_channels)
        for size in conv.kernel_size:
            _check_divides("r_hw", r_hw, "taps along an axis of the kernel", size)
        self.weight, self.bias = conv.weight, conv.bias
        self.residual = residual
        self.register_parameter("alpha", None)
        self._shares = (r_c2, r_hw)
        self._num_blocks = conv.in_channels // conv.groups // per_group
        self._pooled = (conv.kernel_size[0] // r_hw, conv.kernel_size[1] // r_hw)
        self._pad = _missing_padding(conv)
        self._geometry = Geometry(
            (conv.stride[0], conv.stride[1]), zero_padding(conv), (conv.dilation[0], conv.dilation[1]), conv.groups
        )
        num_values = conv.out_channels // r_c2 * self._num_blocks
        self.attend = _PointwiseSequential(
            nn.Linear(conv.in_channels, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_values, bias=False),
            nn.BatchNorm1d(num_values),
            nn.Sigmoid(),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return O, (B, C2) and the size that the convolution gives."""
        pooled, x_BCHW = pool(x_BCHW, self._pooled)
        scale = self._scale(self._expand(pooled))
        padded = functional.pad(x_BCHW, self._pad) if any(self._pad) else x_BCHW
        out_BCHW = convolve(padded, self.weight, scale, self._geometry)
        return out_BCHW if self.bias is None else out_BCHW + self.bias.to(out_BCHW.dtype)[:, None, None]

    def attention_map(self, x_BCHW: Tensor) -> Tensor:
        """Return A before it is repeated along the input channels, (B, C2, C1 / groups / r_c1, h, w)."""
        return self._expand(functional.adaptive_avg_pool2d(x_BCHW, self._pooled))

    def _expand(self, pooled_BChw: Tensor) -> Tensor:
        """A from A0."""
        r_c2, r_hw = self._shares
        values: Tensor = self.attend(pooled_BChw)
        values = torch.unflatten(values, 1, (-1, self._num_blocks)).to(self.weight.dtype)
        for axis, times in ((1, r_c2), (3, r_hw), (4, r_hw)):
            if times > 1:
                values = values.repeat_interleave(times, axis)
        return values

    def _scale(self, attention: Tensor) -> Tensor:
        """Return AK / K."""
        if self.alpha is None:
            return attention + 1 if self.residual else attention
        return 1 + self.alpha * (attention if self.residual else attention - 1)

    def start_as_identity(self) -> None:
        """AK = K + alpha A K (without `residual` K + alpha (A K - K)), alpha = 0 at first: the convolution."""
        self.alpha = nn.Parameter(torch.zeros_like(self.weight[0, 0, 0, 0]))

    @staticmethod
    def effective(knobs: dict[str, Any], *, conv: ConvGeometry, **_: object) -> dict[str, Any]:
        """Describe what is built: a reduction acts through the hidden width, r_c1 of a group's channels is all."""
        r_c1 = _input_share(knobs["r_c1"], conv)
        return {
            "hidden": hidden_width(conv.in_channels, knobs["reduction"]),
            "r_c1": "all" if r_c1 == conv.in_channels // conv.groups else r_c1,
            "r_c2": knobs["r_c2"],
            "r_hw": knobs["r_hw"],
            "residual": knobs["residual"],
        }


class _PointwiseSequential(nn.Sequential):
    """Layers applied at each position of (B, C, h, w), given as layers of (positions, C).

    A linear layer is then a 1x1 convolution, and takes a fifth of its time on a CPU at these sizes.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        positions = x_BHWC.flatten(0, 2)
        for layer in self:
            positions = layer(positions)
        return positions.view(*x_BHWC.shape[:3], -1).permute(0, 3, 1, 2)


def _input_share(r_c1: int | str, conv: ConvGeometry) -> int:
    per_group = conv.in_channels // conv.groups
    if isinstance(r_c1, str):
        return per_group
    _check_divides("r_c1", r_c1, "input channels of a group", per_group)
    return r_c1


def _check_divides(knob: str, value: int, what: str, number: int) -> None:
    if number % value:
        allowed = ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
        raise InputError(f"{knob} {value} does not divide the {number} {what}; allowed here: {allowed}")


def _missing_padding(conv: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return the zeros (left, right, top, bottom) of `same` that a convolution's own even padding leaves out."""
    rows, columns = (r % 2 if conv.padding == "same" else 0 for r in reach(conv))
    return 0, columns, 0, rows
