"""A convolution with a factor per (image, output channel, tap) on a CUDA device: `aw_kernels` as PyTorch operators.

Baozhou et al., 2021, An Attention Module for Convolutional Neural Networks, arXiv:2108.08205, eq. 5 and 6.

The operators are opaque to compilers (`torch.compile(fullgraph=True)` takes them), count for PyTorch's FLOP counter as
those of a convolution do, and have first derivatives alone. Importing this file needs no device and no Triton, but
brings what of it there is: import it when they are first used.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def tap_scaled_conv(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """Return O[n, p] = sum over taps t of S[n, p, t] (K[p, :, t] . I[n] shifted by t), in channels_last.

    x: I, (N, C1, H, W); weight: K, (C2, C1, h, w); scale: S, (N, C2, h, w). x and weight are float32, float16 or
    bfloat16 (under autocast they are made so), scale is of any floating type. Sums are float32. In 16 bits O is
    rounded once, but the products S dO of the backward pass are too. Products of float32 are those of TF32 only
    where `torch.backends.cuda.matmul.fp32_precision` says so. The same call gives the same bits.

    The first call for a shape compiles and measures a few tiles, a second or so for each of its four kernels; later
    processes find both in Triton's cache on the disk. Not to be made while a CUDA graph is being captured.

    Raises:
        ValueError: Shapes that do not go together, another dtype, or a tensor of 2^31 elements or more.
    """
    if x.dtype in DTYPES and x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    _check(x, weight, scale, stride, padding, dilation)
    x, weight, scale = _channels_last(x, weight, scale)
    output: Tensor = _conv(x, weight, scale, [*stride, *padding, *dilation])
    return output


def _check(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    if x.dtype not in DTYPES or weight.dtype != x.dtype or not scale.is_floating_point():
        raise ValueError(f"x and weight must share one dtype of {DTYPES}; got {x.dtype}, {weight.dtype}")
    if x.dim() != 4 or weight.shape[1] != x.shape[1] or scale.shape != (x.shape[0], weight.shape[0], *weight.shape[2:]):
        raise ValueError(
            "need x (N, C1, H, W), weight (C2, C1, h, w) and scale (N, C2, h, w); "
            f"got {tuple(x.shape)}, {tuple(weight.shape)} and {tuple(scale.shape)}"
        )
    shape = _output_shape(x, weight, [*stride, *padding, *dilation])
    if min(shape[2:]) < 1:
        raise ValueError(f"no position of the output is left: its size would be {tuple(shape[2:])}")
    # Kernels compute offsets in 32 bits; of the gradient of `scale` there is a part for some 64 input channels each.
    largest = max(x.numel(), math.prod(shape), scale.numel() * (x.shape[1] // 64 + 1))
    if largest >= 2**31:
        raise ValueError("tensors must have fewer than 2^31 elements; take a smaller batch")


def _output_shape(x: Tensor, weight: Tensor, steps: Sequence[int]) -> list[int]:
    size = [
        (x.shape[2 + i] + 2 * steps[2 + i] - steps[4 + i] * (weight.shape[2 + i] - 1) - 1) // steps[i] + 1
        for i in (0, 1)
    ]
    return [x.shape[0], weight.shape[0], *size]


# The operators. `steps` are (stride, padding, dilation), each for rows and columns. `aw_launch` needs Triton.


@torch.library.custom_op("search_spaces::tap_scaled_conv", mutates_args=())
def _conv(x: Tensor, weight: Tensor, scale: Tensor, steps: Sequence[int]) -> Tensor:
    from search_spaces.attention.ops import aw_launch

    x, weight, scale = _channels_last(x, weight, scale)
    out = _empty(x, _output_shape(x, weight, steps))
    if out.numel():
        aw_launch.forward(x, weight, scale, out, steps)
    return out


@torch.library.custom_op("search_spaces::tap_scaled_conv_input_grad", mutates_args=())
def _input_grad(grad: Tensor, weight: Tensor, scale: Tensor, shape: Sequence[int], steps: Sequence[int]) -> Tensor:
    from search_spaces.attention.ops import aw_launch

    grad, weight, scale = _channels_last(grad, weight, scale)
    out = _empty(grad, shape)
    if out.numel():
        aw_launch.input_grad(grad, weight, scale, out, steps)
    return out


@torch.library.custom_op("search_spaces::tap_scaled_conv_weight_grads", mutates_args=())
def _weight_grads(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, steps: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and scale: they come from one pass over the input."""
    from search_spaces.attention.ops import aw_launch

    if not grad.numel():
        return torch.zeros_like(weight), torch.zeros_like(scale)
    grad, x, weight, scale = _channels_last(grad, x, weight, scale)
    grad_weight, grad_scale = aw_launch.weight_and_scale_grads(grad, x, weight, scale, steps)
    return grad_weight.to(weight.dtype).permute(0, 3, 1, 2), grad_scale.to(scale.dtype).permute(0, 3, 1, 2)


@_conv.register_fake
def _(x: Tensor, weight: Tensor, _scale: Tensor, steps: Sequence[int]) -> Tensor:
    return _empty(x, _output_shape(x, weight, steps))


@_input_grad.register_fake
def _(grad: Tensor, _weight: Tensor, _scale: Tensor, shape: Sequence[int], _steps: Sequence[int]) -> Tensor:
    return _empty(grad, shape)


@_weight_grads.register_fake
def _(_grad: Tensor, _x: Tensor, weight: Tensor, scale: Tensor, _steps: Sequence[int]) -> tuple[Tensor, Tensor]:
    return _empty(weight, weight.shape), _empty(scale, scale.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    x, weight, scale, ctx.steps = inputs
    ctx.save_for_backward(x, weight, scale)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, scale = ctx.saved_tensors
    grad_x = grad_weight = grad_scale = None
    if ctx.needs_input_grad[0]:
        grad_x = _input_grad(grad, weight, scale, x.shape, ctx.steps)
    if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
        grad_weight, grad_scale = _weight_grads(grad, x, weight, scale, ctx.steps)
    return grad_x, grad_weight, grad_scale, None


_conv.register_autograd(_backward, setup_context=_setup_context)


@register_flop_formula(torch.ops.search_spaces.tap_scaled_conv)
def _conv_flops(_x: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return 2 * math.prod(weight[1:]) * math.prod(out_shape)


@register_flop_formula(torch.ops.search_spaces.tap_scaled_conv_input_grad)
def _input_grad_flops(grad: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(weight[1:]) * math.prod(grad)


@register_flop_formula(torch.ops.search_spaces.tap_scaled_conv_weight_grads)
def _weight_grads_flops(grad: Sequence[int], _x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(weight[1:]) * math.prod(grad)


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _channels_last(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.contiguous(memory_format=torch.channels_last) for t in tensors)
