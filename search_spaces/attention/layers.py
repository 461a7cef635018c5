"""What the attention modules have in common: hidden widths, gates, pooling, knobs of the same meaning."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from search_spaces.errors import InputError


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"must be odd, so that the output keeps its size; the nearest are {size - 1} and {size + 1}")
    return size


Reduction = Annotated[int, Field(ge=1, description="the hidden width is channels // reduction")]
OddSize = AfterValidator(_odd)
GateName = Annotated[
    Literal["sigmoid", "hard_sigmoid"],
    Field(description="what maps logits to weights; hard_sigmoid(z) = ReLU6(z + 3) / 6"),
]

GATES: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}


def hidden_width(channels: int, reduction: int) -> int:
    """Return channels // reduction.

    Raises:
        InputError: `reduction` is above `channels`, which would leave no hidden unit.
    """
    if reduction > channels:
        raise InputError(
            f"reduction {reduction} is above the {channels} channels: no hidden unit would be left; "
            f"allowed here: 1 to {channels}"
        )
    return channels // reduction


def scale_channels(x_BCHW: Tensor, weights_BC: Tensor) -> Tensor:
    """Multiply each channel by its weight."""
    return x_BCHW * weights_BC[:, :, None, None]


def init_conv(conv: nn.Conv2d) -> None:
    """Start a convolution as the papers' code does: Kaiming normal over the fan-out, bias 0."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    zero_bias(conv)


def zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    """Start a layer's bias, if it has one, at 0."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
