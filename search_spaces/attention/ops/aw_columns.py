"""The form of `aw_forms` that multiplies each image's columns by its kernel, with a backward pass of its own.

A column holds what one position reads (Chellapilla et al., 2006, High Performance Convolutional Neural Networks for
Document Processing, section 2.1). Backwards, the columns of the output's gradient give that of x, and that of each
image's kernel, from which those of K and S follow. The layouts: N images, C1 and C2 channels, P positions, h x w taps,
J blocks of D input channels.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_spaces.attention.ops.aw_autograd import (
    Geometry,
    Size,
    kernel_factors,
    map_size,
    memory_format_of,
    parts,
    sum_dtype,
)


def has_columns(weight: Tensor, geometry: Geometry) -> bool:
    """Whether `Columns` can be used: not with groups or strides, nor where outputs read nothing but padding."""
    return geometry.groups == 1 and geometry.stride == (1, 1) and min(_padding_back(weight, geometry)) >= 0


def _padding_back(weight: Tensor, geometry: Geometry) -> Size:
    """Return the padding of the convolution of the output's gradient that gives the gradient of x."""
    down, right = (geometry.dilation[i] * (weight.shape[2 + i] - 1) - geometry.padding[i] for i in (0, 1))
    return down, right


class Columns(torch.autograd.Function):
    """Makes the kernels again in the backward pass; where `has_columns`.

    The columns of x would give the gradients of the kernels too. But then the gradient of x were added up from
    columns, which takes 1.4 times as long in all (128 channels on 16x16, batch 128, bf16).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.geometry = geometry
        blocks_PhwJD, factors = kernel_factors(weight, scale, x.dtype)
        size_out = geometry.output_size(map_size(x), map_size(weight))
        x_NHWC = x.permute(0, 2, 3, 1)
        output = x.new_empty(x.shape[0], *size_out, weight.shape[0])
        for part in parts(x, size_out[0] * size_out[1] * weight[0].numel()):
            columns_NPK = _columns(x_NHWC[part], map_size(weight), geometry.padding, geometry.dilation)
            kernels_NCK = (blocks_PhwJD * factors[part]).flatten(2)
            output[part] = torch.bmm(columns_NPK, kernels_NCK.transpose(1, 2)).view_as(output[part])
        return output.permute(0, 3, 1, 2).contiguous(memory_format=memory_format_of(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, scale = ctx.saved_tensors
        padding, dilation = _padding_back(weight, ctx.geometry), ctx.geometry.dilation
        blocks_JDhwP = torch.unflatten(_turned(weight).permute(1, 2, 3, 0), 0, (scale.shape[2], -1))
        blocks_JDhwP = blocks_JDhwP.to(x.dtype).contiguous()
        factors = _turned(scale).permute(0, 2, 3, 4, 1).to(x.dtype).contiguous().unsqueeze(2)  # (N, J, 1, h, w, C2)
        x_NHWC, grad_NHWC = x.permute(0, 2, 3, 1).contiguous(), grad.permute(0, 2, 3, 1)
        grad_x, grad_factors = torch.empty_like(x_NHWC), torch.empty_like(factors)
        grad_blocks = torch.zeros_like(blocks_JDhwP, dtype=sum_dtype(weight))
        for part in parts(x, x.shape[2:].numel() * weight[:, 0].numel()):
            columns_NPK = _columns(grad_NHWC[part], map_size(weight), padding, dilation)
            kernels_NCK = (blocks_JDhwP * factors[part]).flatten(3).flatten(1, 2)
            grad_x[part] = torch.bmm(columns_NPK, kernels_NCK.transpose(1, 2)).view_as(grad_x[part])
            grad_kernels = torch.bmm(x_NHWC[part].flatten(1, 2).transpose(1, 2), columns_NPK)
            grad_kernels = grad_kernels.view(-1, *blocks_JDhwP.shape)
            grad_factors[part] = (grad_kernels * blocks_JDhwP).sum(2, keepdim=True)
            grad_blocks += grad_kernels.mul_(factors[part]).sum(0)
        return (
            grad_x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format_of(x)),
            _turned(grad_blocks.flatten(0, 1).permute(3, 0, 1, 2)).to(weight.dtype),
            _turned(grad_factors.squeeze(2).permute(0, 4, 1, 2, 3)).to(scale.dtype),
            None,
        )


def _turned(per_tap: Tensor) -> Tensor:
    """Return what is given for each tap, (..., h, w), for the taps in reverse."""
    return per_tap.flip(-2, -1)


def _columns(x_NHWC: Tensor, kernel: Size, padding: Size, dilation: Size) -> Tensor:
    """Return what each position of a convolution's output reads, (N, P, h w C)."""
    num_images, height, width, channels = x_NHWC.shape
    (top, left), (below, beside) = padding, dilation
    padded = x_NHWC.new_zeros(num_images, height + 2 * top, width + 2 * left, channels)
    padded[:, top : top + height, left : left + width] = x_NHWC
    image, row, column, _ = padded.stride()
    size_out = (padded.shape[1] - below * (kernel[0] - 1), padded.shape[2] - beside * (kernel[1] - 1))
    steps = (image, row, column, row * below, column * beside, 1)
    columns = padded.as_strided((num_images, *size_out, *kernel, channels), steps)
    return columns.reshape(num_images, size_out[0] * size_out[1], -1)
