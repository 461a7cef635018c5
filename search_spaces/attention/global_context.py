"""The global context block.

Cao et al., 2019, GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, arXiv:1904.11492,
section 3; released code: github.com/xvjiarui/GCNet, mmdet/ops/gcb/context_block.py.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.layers import Reduction, hidden_width, scale_channels, zero_bias
from search_spaces.attention.ops.fused import add_to_channels, average
from search_spaces.attention.registry import register

Pooling = Literal["attention", "average"]
Fusion = Literal["add", "scale", "both"]


@register("gc", kind="gate", paper="Cao et al., 2019, arXiv:1904.11492")
class GC(nn.Module):
    """Global context: add to every position what one attention map gathers from all of them.

    x' = x + T(z), z = sum_j a_j x_j over the positions j, a = softmax over the positions of Wk x (section 3.3),
    T(z) = W2 ReLU(LN(W1 z)), W1: C -> C // r, W2: C // r -> C, Wk: C -> 1, all with biases.

    `fusion`: `add` is the paper's; `scale` is x' = x sigmoid(T(z)), and `both` is x' = x sigmoid(T(z)) + T'(z), with
    weights of its own for T' (the paper's ablation; `channel_mul` and `channel_add` in the code).
    `pooling: average` has a_j = 1 / (H W), without Wk. The bias of Wk is the code's; a softmax does not feel it.

    The start is the code's: Wk Kaiming normal over the fan-in, biases 0, W2 zero: at first `add` is the identity,
    and the other two halve x.
    """

    alpha: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        *,
        reduction: Reduction = 16,
        pooling: Annotated[
            Pooling, Field(description="how the positions are gathered: by a learned map, or evenly")
        ] = "attention",
        fusion: Annotated[
            Fusion, Field(description="the context is added to each channel, weighs it, or both")
        ] = "add",
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.scale = None if fusion == "add" else _transform(channels, hidden)
        self.add = None if fusion == "scale" else _transform(channels, hidden)
        self.mask = _mask(channels) if pooling == "attention" else None
        self.register_parameter("alpha", None)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x with its context, (B, C, H, W)."""
        context_BC = average(x_BCHW) if self.mask is None else self._attend(x_BCHW, self.mask)
        if self.scale is not None:
            weights_BC = self.scale(context_BC).sigmoid()
            if self.alpha is not None:
                weights_BC = 1 + self.alpha * (weights_BC - 1)
            x_BCHW = scale_channels(x_BCHW, weights_BC)
        if self.add is not None:
            shift_BC = self.add(context_BC)
            if self.alpha is not None:
                shift_BC = self.alpha * shift_BC
            x_BCHW = add_to_channels(x_BCHW, shift_BC)
        return x_BCHW

    def _attend(self, x_BCHW: Tensor, mask: nn.Linear) -> Tensor:
        # A linear layer over a view, not a 1x1 convolution: twice as fast at one output channel.
        x_BPC = x_BCHW.flatten(2).transpose(1, 2)
        attention_BP1 = mask(x_BPC).softmax(1)
        return torch.bmm(attention_BP1.transpose(1, 2).to(x_BPC.dtype), x_BPC).squeeze(1)

    def start_as_identity(self) -> None:
        """x (1 + alpha (w - 1)) + alpha T(z), on w and T(z), not on the maps; an added T starts without zeros."""
        self.alpha = nn.Parameter(torch.zeros(()))
        if self.add is not None:
            # With W2 = 0 too, neither W2 nor alpha would ever get a gradient.
            last = self.add[-1]
            assert isinstance(last, nn.Linear)
            last.reset_parameters()

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, **_: object) -> dict[str, Any]:
        """Describe what is built."""
        return {
            "hidden": hidden_width(channels, knobs["reduction"]),
            "pooling": knobs["pooling"],
            "fusion": knobs["fusion"],
        }


def _mask(channels: int) -> nn.Linear:
    mask = nn.Linear(channels, 1)
    nn.init.kaiming_normal_(mask.weight, nonlinearity="relu")
    zero_bias(mask)
    return mask


def _transform(channels: int, hidden: int) -> nn.Sequential:
    """T, (B, C) -> (B, C)."""
    last = nn.Linear(hidden, channels)
    nn.init.zeros_(last.weight)
    zero_bias(last)
    return nn.Sequential(nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(), last)
