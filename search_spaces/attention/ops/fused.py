"""Steps of the attention modules that touch whole maps, in few passes over them.

A small module costs what its passes over (B, C, H, W) cost, and the obvious expressions make needless ones. What
is avoided, with the times of one pass over 128 x 16 x 32 x 32 in bfloat16 and channels_last on one thread of an AMD
EPYC (Zen 4), where a sum of two such maps takes 0.5 ms:

- The gradient of `x.mean((2, 3))` is in the default layout, whatever the layout of x; adding it to a gradient in
  channels_last takes 5 to 9 ms. The mean itself copies x to float32 first.
- `x.amax(dim)` takes 5 ms, and its backward pass compares, counts, divides and multiplies whole maps. The pooling
  kernels give the position of the maximum with it, and then the gradient goes there alone.
- The sum of (B, C, 1, 1) and (B, 1, H, W) is in the default layout: all that follows mixes two layouts.
- Broadcasting along few channels (5 ms) costs more than writing the broadcast tensor out and adding it (1 ms).

All of that is torch training on a CPU, in eager mode. On other devices, without gradients, compiled, exported or
traced, the expressions are the plain ones, in the layout of x.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


def average(x_BCHW: Tensor) -> Tensor:
    """Return the mean over the positions, (B, C)."""
    if _is_recorded(x_BCHW) or _layout(x_BCHW) != torch.channels_last:
        return x_BCHW.mean((2, 3))
    if not x_BCHW.is_cpu:
        # The gradient of this mean, unlike that of the one above, comes in channels_last.
        return x_BCHW.permute(0, 2, 3, 1).mean((1, 2))
    mean_BC: Tensor = _Average.apply(x_BCHW) if _needs_gradient(x_BCHW) else _mean_of_positions(x_BCHW)
    return mean_BC


def average_and_maximum(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the maximum over the positions, (B, C) each.

    Of equal maxima all share the gradient, or in eager mode on a CPU the first gets it (as in CBAM's code).
    """
    if _trains_on_a_cpu(x_BCHW):
        mean_BC, max_BC = _PoolPositions.apply(x_BCHW)
        return mean_BC, max_BC
    return x_BCHW.mean((2, 3)), x_BCHW.amax((2, 3))


def maximum_and_average_of_channels(x_BCHW: Tensor) -> Tensor:
    """Return the maximum and the mean over the channels, (B, 2, H, W); of equal maxima see above."""
    if _trains_on_a_cpu(x_BCHW):
        pooled_B2HW: Tensor = _PoolChannels.apply(x_BCHW)
        return pooled_B2HW
    return torch.cat((x_BCHW.amax(1, keepdim=True), x_BCHW.mean(1, keepdim=True)), 1)


def scale_positions(x_BCHW: Tensor, weights_B1HW: Tensor) -> Tensor:
    """Multiply each position by its weight."""
    if _broadcasts_slowly(x_BCHW):
        scaled_BCHW: Tensor = _ScalePositions.apply(x_BCHW, weights_B1HW)
        return scaled_BCHW
    return x_BCHW * weights_B1HW


def add_to_channels(x_BCHW: Tensor, terms_BC: Tensor) -> Tensor:
    """Add to each channel its term."""
    terms_BC11 = terms_BC[:, :, None, None]
    return x_BCHW + (_spread(terms_BC11, x_BCHW) if _broadcasts_slowly(x_BCHW) else terms_BC11)


def join(
    operation: Callable[[Tensor, Tensor], Tensor], channels_BC: Tensor, positions_B1HW: Tensor, like_BCHW: Tensor
) -> Tensor:
    """Return an elementwise operation of every channel with every position, (B, C, H, W), in the layout of `like`."""
    channels_BC11 = channels_BC[:, :, None, None]
    if _broadcasts_slowly(like_BCHW):
        return operation(_spread(channels_BC11, like_BCHW), _spread(positions_B1HW, like_BCHW))
    if not _is_recorded(like_BCHW) and _layout(like_BCHW) == torch.channels_last:
        return operation(channels_BC[:, None, None], positions_B1HW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return operation(channels_BC11, positions_B1HW)


def add_share(x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
    """Return x + weights x."""
    if _trains_on_a_cpu(x_BCHW):
        sum_BCHW: Tensor = _AddShare.apply(x_BCHW, weights_BCHW)
        return sum_BCHW
    return torch.addcmul(x_BCHW, x_BCHW, weights_BCHW)


def select(weights: Tensor, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
    """Return weights x + (1 - weights) y."""
    if _trains_on_a_cpu(x_BCHW) and x_BCHW.dtype == y_BCHW.dtype == weights.dtype:
        selected_BCHW: Tensor = _Select.apply(weights, x_BCHW, y_BCHW)
        return selected_BCHW
    return y_BCHW + weights * (x_BCHW - y_BCHW)


def _is_recorded(x: Tensor) -> bool:
    """Whether the expression is being compiled, exported or traced; what torch.fx traces with is no tensor."""
    return torch.compiler.is_compiling() or torch._C._is_tracing() or not isinstance(x, Tensor)


def _needs_gradient(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _trains_on_a_cpu(x: Tensor) -> bool:
    return not _is_recorded(x) and x.is_cpu and _needs_gradient(x)


def _layout(x_BCHW: Tensor) -> torch.memory_format:
    # A map that is contiguous in both (one channel, one position) is in either.
    last = x_BCHW.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _broadcasts_slowly(x_BCHW: Tensor) -> bool:
    if _is_recorded(x_BCHW) or not x_BCHW.is_cpu or x_BCHW.dtype.itemsize > 2:
        return False
    # A vector of the CPU holds 32 such numbers; a broadcast starts anew at every position.
    return x_BCHW.shape[1] % 32 > 0 and _layout(x_BCHW) == torch.channels_last


def _spread(weights: Tensor, like_BCHW: Tensor) -> Tensor:
    """Return (B, C, 1, 1) or (B, 1, H, W) written out as (B, C, H, W), in the layout of `like`."""
    return weights.expand(like_BCHW.shape).contiguous(memory_format=_layout(like_BCHW))


def _mean_of_positions(x_BCHW: Tensor) -> Tensor:
    """Return (B, C); in half precision by a kernel that sums in float32 without a copy in it."""
    if x_BCHW.dtype.itemsize > 2:
        return x_BCHW.mean((2, 3))
    return functional.avg_pool2d(x_BCHW, x_BCHW.shape[2:]).flatten(1)


def _pool(rows_BPK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and maximum over P, and the (first) position of the maximum, (B, K) each."""
    x_BK1P = rows_BPK.transpose(1, 2).unsqueeze(2)  # in channels_last, where the kernels are fast
    maximum, position = functional.adaptive_max_pool2d(x_BK1P, 1, return_indices=True)
    return _mean_of_positions(x_BK1P), maximum.flatten(1), position.flatten(1)


def _places(position_BK: Tensor, of_one: int, of_kept: int, of_pooled: int) -> Tensor:
    """Return where in the memory of a map the maxima lie, given how far apart its images, K and P lie."""
    batch, kept = position_BK.shape
    first_BK = torch.arange(batch)[:, None] * of_one + torch.arange(kept) * of_kept
    return (first_BK + position_BK * of_pooled).to(torch.int32 if batch * of_one < 2**31 else torch.int64)


def _unpool(mean: Tensor, maximum: Tensor, places: Tensor, shape: torch.Size, layout: torch.memory_format) -> Tensor:
    """Return `mean` written out in a shape, with each number of `maximum` added at its place in memory."""
    x_BCHW = mean.expand(shape).contiguous(memory_format=layout)
    flat = (x_BCHW.permute(0, 2, 3, 1) if layout == torch.channels_last else x_BCHW).view(-1)
    flat.index_add_(0, places.flatten(), maximum.flatten())
    return x_BCHW


class _Average(Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor) -> Tensor:
        ctx.shape = x_BCHW.shape
        return _mean_of_positions(x_BCHW)

    @staticmethod
    def backward(ctx: Any, mean_BC: Tensor) -> Tensor:
        shared_BC11: Tensor = (mean_BC / ctx.shape[2:].numel())[:, :, None, None]
        return shared_BC11.expand(ctx.shape).contiguous(memory_format=torch.channels_last)


class _PoolPositions(Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.layout = x_BCHW.shape, _layout(x_BCHW)
        mean_BC, max_BC, position_BC = _pool(x_BCHW.flatten(2).transpose(1, 2).contiguous())
        channel, position = _steps(ctx.shape, ctx.layout)
        ctx.save_for_backward(_places(position_BC, ctx.shape[1:].numel(), channel, position))
        return mean_BC, max_BC

    @staticmethod
    def backward(ctx: Any, mean_BC: Tensor, max_BC: Tensor) -> Tensor:
        (places_BC,) = ctx.saved_tensors
        shared_BC = mean_BC / ctx.shape[2:].numel()
        return _unpool(shared_BC[:, :, None, None], max_BC, places_BC, ctx.shape, ctx.layout)


class _PoolChannels(Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor) -> Tensor:
        ctx.shape, ctx.layout = x_BCHW.shape, _layout(x_BCHW)
        batch, _, *resolution = x_BCHW.shape
        mean_BP, max_BP, channel_BP = _pool(x_BCHW.flatten(2).contiguous())
        channel, position = _steps(ctx.shape, ctx.layout)
        ctx.save_for_backward(_places(channel_BP, ctx.shape[1:].numel(), position, channel))
        # In channels_last: a convolution of 2 channels in the default layout takes three times as long.
        return torch.stack((max_BP, mean_BP), 2).view(batch, *resolution, 2).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, pooled_B2HW: Tensor) -> Tensor:
        (places_BP,) = ctx.saved_tensors
        max_B1HW, mean_B1HW = pooled_B2HW[:, :1], pooled_B2HW[:, 1:]
        return _unpool(mean_B1HW / ctx.shape[1], max_B1HW, places_BP, ctx.shape, ctx.layout)


def _steps(shape: torch.Size, layout: torch.memory_format) -> tuple[int, int]:
    """Return how far apart the channels and the positions of a map lie in memory."""
    return (1, shape[1]) if layout == torch.channels_last else (shape[2:].numel(), 1)


class _ScalePositions(Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weights_B1HW: Tensor) -> Tensor:
        ctx.save_for_backward(x_BCHW, weights_B1HW)
        return x_BCHW * _spread(weights_B1HW, x_BCHW)

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        x_BCHW, weights_B1HW = ctx.saved_tensors
        return grad_BCHW * _spread(weights_B1HW, x_BCHW), (grad_BCHW * x_BCHW).sum(1, keepdim=True)


class _AddShare(Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
        ctx.save_for_backward(x_BCHW, weights_BCHW)
        return torch.addcmul(x_BCHW, x_BCHW, weights_BCHW)

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        x_BCHW, weights_BCHW = ctx.saved_tensors
        return torch.addcmul(grad_BCHW, grad_BCHW, weights_BCHW), grad_BCHW * x_BCHW


class _Select(Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        ctx.save_for_backward(weights, x_BCHW, y_BCHW)
        return torch.lerp(y_BCHW, x_BCHW, weights)

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, x_BCHW, y_BCHW = ctx.saved_tensors
        to_x_BCHW = grad_BCHW * weights
        return (x_BCHW - y_BCHW).mul_(grad_BCHW), to_x_BCHW, grad_BCHW - to_x_BCHW
