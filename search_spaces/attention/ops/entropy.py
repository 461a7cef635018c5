"""Means and entropies of a feature map over its positions and over its channels, in one pass.

The entropy is the global entropy pooling (GEP) of Wu et al., 2023, CAT, arXiv:2212.06335, section 3.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_spaces.attention.ops.pieces import is_eager_on_cpu, pieces
from search_spaces.attention.ops.plain import widen

Axes = tuple[int, ...]
POSITIONS: Axes = (2, 3)
CHANNELS: Axes = (1,)
_WIDEST_SPREAD = 60.0


def mean_and_entropy(x_BCHW: Tensor, sides: tuple[Axes, ...]) -> list[tuple[Tensor, Tensor]]:
    """Return the mean and the entropy of x over each of `sides`, in float32 or better.

    (B, C, 1, 1) over `POSITIONS`, (B, 1, H, W) over `CHANNELS`. The entropy is -sum p log p, p = softmax of x
    over the same axes, natural logarithm: 0 to log of their number. Values must be finite.

    Under torch.compile and torch.export it is made of `entropy`, else of `_MeansAndEntropies`, whose gradient
    cannot be differentiated again.
    """
    if torch.compiler.is_compiling():
        return [(widen(x_BCHW).mean(side, keepdim=True), entropy(x_BCHW, side, side)) for side in sides]
    if _one_shift_serves(x_BCHW):
        return _apply(x_BCHW, (1, 2, 3), sides)
    return [pooled for side in sides for pooled in _apply(x_BCHW, side, (side,))]


def entropy(x_BCHW: Tensor, softmax_over: Axes, sum_over: Axes) -> Tensor:
    """Return -sum p log p over `sum_over`, p = softmax of x over `softmax_over`, in float32 or better.

    The summed axes stay, as 1. Values must be finite.
    """
    wide_BCHW = widen(x_BCHW)
    # Any shift gives the same p; with the largest value nothing overflows.
    shifted_BCHW = wide_BCHW - wide_BCHW.detach().amax(softmax_over, keepdim=True)
    log_p_BCHW = shifted_BCHW - shifted_BCHW.exp().sum(softmax_over, keepdim=True).log()
    return -(log_p_BCHW.exp() * log_p_BCHW).sum(sum_over, keepdim=True)


def _one_shift_serves(x_BCHW: Tensor) -> bool:
    """Say whether the softmaxes over all axes can share exp(x - largest value of the image).

    Further than 87 below it float32 has 0, where a softmax over some of the axes may have a large p.
    """
    if not is_eager_on_cpu(x_BCHW):
        return False
    spread = x_BCHW.detach().amax((1, 2, 3)) - x_BCHW.detach().amin((1, 2, 3))
    return bool((spread <= _WIDEST_SPREAD).all())


def _apply(x_BCHW: Tensor, largest_over: Axes, sides: tuple[Axes, ...]) -> list[tuple[Tensor, Tensor]]:
    shift = widen(x_BCHW.detach().amax(largest_over, keepdim=True))
    pooled: tuple[Tensor, ...] = _MeansAndEntropies.apply(x_BCHW, shift, sides)
    return list(zip(pooled[: len(sides)], pooled[len(sides) :], strict=True))


class _MeansAndEntropies(torch.autograd.Function):
    """Means and entropies from log-sum-exp and weighted mean, with the gradient in closed form.

    With z = x - shift, e = exp(z), t = sum e and m = sum(e z) / t = sum(p z): log p = z - log t, so

        entropy = log t - m,    d entropy / dx = -p (log p + entropy) = -(e / t) (z - m).

    One exponential serves all sides; only x, shift, t and m are kept for the backward pass. bfloat16 and
    float16 are computed in float32: entropies lie close together, and what is min-max normalised afterwards
    are their differences.
    """

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, shift: Tensor, sides: tuple[Axes, ...]) -> tuple[Tensor, ...]:
        """Return the means, then the entropies, over each side."""
        cut = [_pool(sides, *piece) for piece in pieces(x_BCHW, shift)]
        pooled = [torch.cat(parts) for parts in zip(*cut, strict=True)]
        means, entropies, totals, inners = (pooled[i::4] for i in range(4))
        ctx.num_sides = len(sides)
        ctx.save_for_backward(x_BCHW, shift, *totals, *inners)
        return *means, *entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of x."""
        x_BCHW, *saved = ctx.saved_tensors
        gradient_BCHW = torch.empty_like(x_BCHW)
        for x, gradient, shift, *rest in pieces(x_BCHW, gradient_BCHW, *saved, *gradients):
            gradient.copy_(_differentiate(x, shift, [rest[i :: ctx.num_sides] for i in range(ctx.num_sides)]))
        return gradient_BCHW, None, None


def _pool(sides: tuple[Axes, ...], x_BCHW: Tensor, shift: Tensor) -> list[Tensor]:
    """Return mean, entropy, t, m for each side."""
    z_BCHW = widen(x_BCHW, copy=True).sub_(shift)
    e_BCHW = z_BCHW.exp()
    totals = [e_BCHW.sum(side, keepdim=True) for side in sides]
    e_BCHW.mul_(z_BCHW)
    pooled = []
    for side, total in zip(sides, totals, strict=True):
        inner = e_BCHW.sum(side, keepdim=True) / total
        pooled += [z_BCHW.mean(side, keepdim=True) + shift, total.log() - inner, total, inner]
    return pooled


def _differentiate(x_BCHW: Tensor, shift: Tensor, sides: list[list[Tensor]]) -> Tensor:
    """Return the gradient of x from t, m and the gradients of mean and entropy for each side."""
    # To the wide type first: a subtraction of mixed types took 30 times as long.
    z_BCHW = widen(x_BCHW, copy=True).sub_(shift)
    slope_BCHW, result_BCHW = torch.zeros_like(z_BCHW), torch.zeros_like(z_BCHW)
    # sum_sides -(e / t) g (z - m) = e (sum_sides (g / t) m - z sum_sides g / t)
    for total, inner, _, for_entropy in sides:
        scale = for_entropy / total
        slope_BCHW += scale
        result_BCHW += scale * inner
    result_BCHW -= slope_BCHW.mul_(z_BCHW)
    result_BCHW *= z_BCHW.exp_()
    for total, _, for_mean, _ in sides:
        result_BCHW += for_mean * (total.numel() / x_BCHW.numel())
    return result_BCHW
