"""The form of `aw_forms` that multiplies each image's columns by its kernel, with a backward pass of its own.

A column holds what one position reads (Chellapilla et al., 2006, High Performance Convolutional Neural Networks for
Document Processing, section 2.1). Backwards, the columns of the output's gradient give that of x, and that of each
image's kernel, from which those of K and S follow. The layouts: N images, C1 and C2 channels, P positions, h x w taps,
J blocks of D input channels.
"""

from collections.abc import Iterator
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
        output = x.new_empty(x.shape[0], *size_out, weight.shape[0])
        reader = _Reader(x.permute(0, 2, 3, 1), map_size(weight), geometry.padding, geometry.dilation)
        kernels_NPhwJD = x.new_empty(reader.num_at_once, *blocks_PhwJD.shape)
        for part, columns_NPK in reader:
            num = len(columns_NPK)
            kernels = torch.mul(blocks_PhwJD, factors[part], out=kernels_NPhwJD[:num]).flatten(2)
            torch.bmm(columns_NPK, kernels.transpose(1, 2), out=output[part].flatten(1, 2))
        return output.permute(0, 3, 1, 2).contiguous(memory_format=memory_format_of(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, scale = ctx.saved_tensors
        blocks_JDhwP = torch.unflatten(_turned(weight).permute(1, 2, 3, 0), 0, (scale.shape[2], -1))
        blocks_JDhwP = blocks_JDhwP.to(x.dtype).contiguous()
        factors = _turned(scale).permute(0, 2, 3, 4, 1).to(x.dtype).contiguous().unsqueeze(2)  # (N, J, 1, h, w, C2)
        x_NHWC = x.permute(0, 2, 3, 1).contiguous()
        grad_x, grad_factors = torch.empty_like(x_NHWC), torch.empty_like(factors)
        grad_blocks = torch.zeros_like(blocks_JDhwP, dtype=sum_dtype(weight))
        padding = _padding_back(weight, ctx.geometry)
        reader = _Reader(grad.permute(0, 2, 3, 1), map_size(weight), padding, ctx.geometry.dilation)
        kernels_NJDhwP, grad_kernels_NJDhwP = x.new_empty(2, reader.num_at_once, *blocks_JDhwP.shape)
        for part, columns_NPK in reader:
            num = len(columns_NPK)
            kernels, grad_kernels = kernels_NJDhwP[:num], grad_kernels_NJDhwP[:num]
            torch.mul(blocks_JDhwP, factors[part], out=kernels)
            kernels_NCK = kernels.flatten(3).flatten(1, 2)
            torch.bmm(columns_NPK, kernels_NCK.transpose(1, 2), out=grad_x[part].flatten(1, 2))
            x_NCP = x_NHWC[part].flatten(1, 2).transpose(1, 2)
            torch.bmm(x_NCP, columns_NPK, out=grad_kernels.flatten(3).flatten(1, 2))
            torch.sum(torch.mul(grad_kernels, blocks_JDhwP, out=kernels), 2, keepdim=True, out=grad_factors[part])
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


class _Reader:
    """Yields parts of a batch, each with what the positions of a convolution's output read, (images, P, h w C).

    The columns lie in one buffer, written anew for each part; so does the padded map that they are copied from,
    whose border stays zero.
    """

    def __init__(self, x_NHWC: Tensor, kernel: Size, padding: Size, dilation: Size) -> None:
        num_images, height, width, channels = x_NHWC.shape
        (top, left), (below, beside) = padding, dilation
        rows, columns = (height + 2 * top, width + 2 * left)
        size_out = (rows - below * (kernel[0] - 1), columns - beside * (kernel[1] - 1))
        per_image = size_out[0] * size_out[1] * kernel[0] * kernel[1] * channels
        self._x_NHWC = x_NHWC
        self._parts = list(parts(x_NHWC, per_image))
        self.num_at_once = min(num_images, self._parts[0].stop) if self._parts else 0
        padded = x_NHWC.new_zeros(self.num_at_once, rows, columns, channels)
        self._inner = padded[:, top : top + height, left : left + width]
        image, row, column, _ = padded.stride()
        steps = (image, row, column, row * below, column * beside, 1)
        self._windows = padded.as_strided((self.num_at_once, *size_out, *kernel, channels), steps)
        self._columns = x_NHWC.new_empty(self._windows.shape)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        for part in self._parts:
            images = self._x_NHWC[part]
            self._inner[: len(images)] = images
            columns = self._columns[: len(images)]
            columns.copy_(self._windows[: len(images)])
            yield part, columns.flatten(3).flatten(1, 2)
