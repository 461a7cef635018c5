"""x times a weight per channel plus a weight per position: x (c + s), c of (B, C, 1, 1), s of (B, 1, H, W)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_spaces.attention.ops.pieces import is_eager_on_cpu, pieces


def weigh_two_sided(x_BCHW: Tensor, channel_BC11: Tensor, spatial_B1HW: Tensor) -> Tensor:
    """Return x (c + s), of the type and memory format of x; c and s are of one type, float32 or better.

    On a CPU without keeping c + s, which is as large as x; the gradient then has none of its own.
    """
    if not is_eager_on_cpu(x_BCHW):
        return x_BCHW * _add(x_BCHW, channel_BC11, spatial_B1HW).to(x_BCHW.dtype)
    weighed_BCHW: Tensor = _TwoSided.apply(x_BCHW, channel_BC11, spatial_B1HW)
    return weighed_BCHW


def _add(x_BCHW: Tensor, channel_BC11: Tensor, spatial_B1HW: Tensor) -> Tensor:
    """Add, broadcast, in the memory format of x, which the operands' strides do not tell."""
    if not x_BCHW.is_contiguous(memory_format=torch.channels_last):
        return channel_BC11 + spatial_B1HW
    total_BHWC = channel_BC11.permute(0, 2, 3, 1) + spatial_B1HW.permute(0, 2, 3, 1)
    return total_BHWC.permute(0, 3, 1, 2)


class _TwoSided(torch.autograd.Function):
    """x (c + s) and its gradients g (c + s), sum over the positions of g x, sum over the channels of g x."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, channel_BC11: Tensor, spatial_B1HW: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        ctx.save_for_backward(x_BCHW, channel_BC11, spatial_B1HW)
        weighed_BCHW = torch.empty_like(x_BCHW)
        for weighed, x, channel, spatial in pieces(weighed_BCHW, x_BCHW, channel_BC11, spatial_B1HW):
            weights = _add(x, channel, spatial)
            weighed.copy_(weights.mul_(x.to(weights.dtype)))
        return weighed_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x, c and s."""
        for_x_BCHW = torch.empty_like(ctx.saved_tensors[0])
        for_channel, for_spatial = [], []
        for for_x, x, channel, spatial, gradient in pieces(for_x_BCHW, *ctx.saved_tensors, gradient_BCHW):
            weights = _add(x, channel, spatial)
            for_weights = gradient.to(weights.dtype, copy=True)
            for_x.copy_(weights.mul_(for_weights))
            for_weights *= x.to(weights.dtype)
            for_channel.append(for_weights.sum((2, 3), keepdim=True))
            for_spatial.append(for_weights.sum(1, keepdim=True))
        return for_x_BCHW, torch.cat(for_channel), torch.cat(for_spatial)
