"""Maxima of a feature map over its positions and over its channels, after a Gaussian low-pass filter.

The global maximum pooling (GMP) of Wu et al., 2023, CAT, arXiv:2212.06335, section 3.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from search_spaces.attention.ops.entropy import CHANNELS, Axes
from search_spaces.attention.ops.pieces import is_eager_on_cpu, pieces
from search_spaces.attention.ops.plain import filter_channels, gaussian_taps, weight_inside, widen


def blurred_maxima(x_BCHW: Tensor, sides: tuple[Axes, ...], size: int, sigma: float) -> list[Tensor]:
    """Return the maxima over each of `sides` of F filtered along H, or along H and W, each channel for itself.

    max over the positions of g * F, (B, C, 1, 1), and max over the channels of g^T * g * F, (B, 1, H, W), with
    the Gaussian g of `size` (odd; 1: no filter) and standard deviation `sigma` in positions, of sum 1.

    At the border the taps outside of the map are left out and the others weighted up to a sum of 1: a constant
    map stays constant, and a map of one position is left as it is.
    """
    taps = gaussian_taps(size, sigma, x_BCHW)
    inside_HW = weight_inside(taps, x_BCHW.shape[2])[:, None]
    along_height_BCHW = filter_channels(x_BCHW, taps[:, None])
    maxima = []
    for side in sides:
        if side == CHANNELS:
            blurred_BCHW = filter_channels(along_height_BCHW, taps[None])
            maxima.append(_over_channels(blurred_BCHW) / (inside_HW * weight_inside(taps, x_BCHW.shape[3])))
        else:
            maxima.append(_over_height(_over_width(along_height_BCHW) / inside_HW))
    return maxima


def _over_width(x_BCHW: Tensor) -> Tensor:
    # On a CPU with channels last, amax takes 3 to 9 ns per element, forward and backward, the pooling 0.4.
    return functional.max_pool2d(x_BCHW, (1, x_BCHW.shape[3])) if is_eager_on_cpu(x_BCHW) else x_BCHW.amax(3, True)


def _over_height(x_BCH1: Tensor) -> Tensor:
    return x_BCH1.amax(2, keepdim=True)


def _over_channels(x_BCHW: Tensor) -> Tensor:
    if not is_eager_on_cpu(x_BCHW):
        return x_BCHW.amax(1, keepdim=True)
    largest: Tensor = _MaximumOverChannels.apply(x_BCHW)
    return largest


class _MaximumOverChannels(torch.autograd.Function):
    """amax over the channels, computed in float32: in bfloat16 it and its gradient take 3 times as long."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor) -> Tensor:
        """Return (B, 1, H, W)."""
        largest_B1HW = torch.cat([widen(x).amax(1, keepdim=True) for (x,) in pieces(x_BCHW)])
        ctx.save_for_backward(x_BCHW, largest_B1HW)
        return largest_B1HW.to(x_BCHW.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B1HW: Tensor) -> Tensor:
        """Share the gradient among the channels that have the maximum."""
        result_BCHW = torch.empty_like(ctx.saved_tensors[0])
        for result, x, largest, gradient in pieces(result_BCHW, *ctx.saved_tensors, gradient_B1HW):
            is_largest = widen(x, copy=True).ge_(largest)
            result.copy_(is_largest.mul_(gradient / is_largest.sum(1, keepdim=True)))
        return result_BCHW
