"""The forms of `aw_forms` and their pooling with backward passes of their own.

They work on parts of the batch that fit a cache and keep no more than what they were given; derivatives are of
first order. The layouts: N images, C1 and C2 channels, H x W positions, h x w taps, J blocks of input channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

CHUNK_BYTES = 2**21
"""Of the batch that is worked on at once on a CPU, so that it stays in a cache. With 128 images at once forward and
backward in bf16 take, against that: `Grouped` 1.9 times (16 channels on 32x32) and 2.4 times (256 on 8x8), `Taps` 1.1
and 1.2 times (64 and 256 on 8x8)."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """How a zero-padded convolution reads its input."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, size: Size, kernel: Size) -> Size:
        """Return (H, W) of the output, from that of the input and (h, w) of the kernel."""
        height, width = (
            (size[i] + 2 * self.padding[i] - self.dilation[i] * (kernel[i] - 1) - 1) // self.stride[i] + 1
            for i in (0, 1)
        )
        return height, width

    def convolve(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Convolve with this stride, padding and dilation."""
        return functional.conv2d(x, weight, None, self.stride, self.padding, self.dilation, groups)


def map_size(x: Tensor) -> Size:
    return x.shape[2], x.shape[3]


def memory_format_of(x: Tensor) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def side_by_side(x: Tensor) -> Tensor:
    """Return a batch as one image, (1, N C1, H, W), in channels-last order."""
    x_HWNC = x.permute(2, 3, 0, 1)
    return x_HWNC.reshape(1, *x_HWNC.shape[:2], -1).permute(0, 3, 1, 2)


def kernels(weight: Tensor, scale: Tensor) -> Tensor:
    """Return S K, a kernel per image, (N, C2, C1 / groups, h, w), each in channels-last order."""
    blocks, factors = kernel_factors(weight, scale, weight.dtype)
    return in_channels_last(blocks * factors)


def in_channels_last(kernels_NPhwJD: Tensor) -> Tensor:
    return kernels_NPhwJD.flatten(4).permute(0, 1, 4, 2, 3)


def kernel_factors(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return K as (C2, h, w, J, C1 / groups / J) and S as (N, C2, h, w, J, 1), whose product runs over channels.

    Over taps, as in the order that weights are kept in, it takes three times as long at 32 channels.
    """
    blocks = torch.unflatten(weight.permute(0, 2, 3, 1).to(dtype).contiguous(), 3, (scale.shape[2], -1))
    return blocks, scale.permute(0, 1, 3, 4, 2).to(dtype).contiguous()[..., None]


def parts(x: Tensor, per_image: int) -> Iterator[slice]:
    """Yield parts of a batch, given how many numbers of the type of x are worked on for each image."""
    size = num_images = x.shape[0]
    if x.device.type == "cpu":
        size = CHUNK_BYTES // max(1, per_image * x.element_size())
    for start in range(0, num_images, max(1, size)):
        yield slice(start, start + max(1, size))


class Pool(torch.autograd.Function):
    """Adaptive average pooling of x, and x again as x'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        ctx.size = size
        return functional.adaptive_avg_pool2d(x, size), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad_pooled, grad = grads
        rows, columns = (_windows(size, parts) for size, parts in zip(grad.shape[2:], ctx.size, strict=True))
        last = memory_format_of(grad)
        # The module alone reads x', so that its gradient is nobody else's and can be added to in place: in one matrix
        # product per image, which takes 0.5 to 0.8 of the time of adding window by window (bf16, batch 128).
        grad = grad.contiguous(memory_format=last)
        inside = torch.einsum("hi,wj->hwij", _is_inside(rows, grad), _is_inside(columns, grad)).flatten(2).flatten(0, 1)
        means = (grad_pooled.flatten(2) / inside.sum(0)).to(grad.dtype)
        if last == torch.channels_last:
            grad_NPC = grad.permute(0, 2, 3, 1).flatten(1, 2)
            grad_NPC.baddbmm_(inside.expand(len(grad), -1, -1), means.transpose(1, 2))
        else:
            grad.flatten(2).baddbmm_(means, inside.t().expand(len(grad), -1, -1))
        return grad, None


def _windows(size: int, num_windows: int) -> list[slice]:
    """Return the positions that adaptive pooling averages along an axis, for each window."""
    return [slice(i * size // num_windows, -(-(i + 1) * size // num_windows)) for i in range(num_windows)]


def _is_inside(windows: list[slice], like: Tensor) -> Tensor:
    """Return 1 where a position of an axis is in a window, else 0, (positions, windows)."""
    inside = like.new_zeros(windows[-1].stop, len(windows))
    for j, window in enumerate(windows):
        inside[window, j] = 1
    return inside


def sum_dtype(weight: Tensor) -> torch.dtype:
    """Return the type in which the parts' gradients are added up."""
    return torch.promote_types(weight.dtype, torch.float32)


class Grouped(torch.autograd.Function):
    """Makes the kernels again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.geometry = geometry
        shape = (x.shape[0], weight.shape[0], *geometry.output_size(map_size(x), map_size(weight)))
        output = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format_of(x))
        blocks, factors = kernel_factors(weight, scale, x.dtype)
        for part in parts(x, 2 * (x.shape[1:].numel() + output.shape[1:].numel() + weight.numel())):
            kernels_NPCHW = in_channels_last(blocks * factors[part])
            num_groups = len(kernels_NPCHW) * geometry.groups
            maps = geometry.convolve(side_by_side(x[part]), kernels_NPCHW.flatten(0, 1), num_groups)
            output[part] = maps.view_as(output[part])
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, scale = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        blocks, factors = kernel_factors(weight, scale, x.dtype)
        grad_x, grad_blocks, grad_factors = torch.empty_like(x), torch.zeros_like(blocks, dtype=sum_dtype(weight)), []
        for part in parts(x, 2 * (x.shape[1:].numel() + grad.shape[1:].numel() + weight.numel())):
            kernels_NPCHW = in_channels_last(blocks * factors[part])
            given = torch.ops.aten.convolution_backward(
                side_by_side(grad[part]),
                side_by_side(x[part]),
                kernels_NPCHW.flatten(0, 1),
                None,
                geometry.stride,
                geometry.padding,
                geometry.dilation,
                False,
                [0, 0],
                len(kernels_NPCHW) * geometry.groups,
                [True, True, False],
            )
            grad_x[part] = given[0].view_as(x[part])
            grad_kernels = given[1].permute(0, 2, 3, 1).reshape(-1, *blocks.shape)
            grad_blocks += (grad_kernels * factors[part]).sum(0)
            grad_factors.append((grad_kernels * blocks).sum(-1))
        grad_weight = grad_blocks.flatten(3).permute(0, 3, 1, 2).to(weight.dtype)
        grad_scale = torch.cat(grad_factors).permute(0, 1, 4, 2, 3).to(scale.dtype)
        return grad_x, grad_weight, grad_scale, None


@dataclass(frozen=True)
class _Product:
    """One tap of one block: what it reads, what it adds to (both in channels-last order), and its weights."""

    tap: tuple[int, int]
    block: int
    read: tuple[slice, slice, slice]
    write: tuple[slice, slice, slice]


def _overlap(size: int, size_out: int, stride: int, offset: int) -> tuple[slice, slice]:
    """Return which positions are read and written along one axis if output o reads input o stride + offset."""
    first = max(0, -(offset // stride))
    last = min(size_out - 1, (size - 1 - offset) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    return slice(first * stride + offset, last * stride + offset + 1, stride), slice(first, last + 1)


@lru_cache(maxsize=1000)
def _products(size: Size, kernel: Size, geometry: Geometry, depth: int, width: int, num_blocks: int) -> list[_Product]:
    """Return the matrix products that a convolution consists of; those that would read padding alone are none.

    `depth` is C1 / groups / J, `width` is C2 / groups.
    """
    size_out = geometry.output_size(size, kernel)
    overlaps = [
        [
            _overlap(size[i], size_out[i], geometry.stride[i], tap * geometry.dilation[i] - geometry.padding[i])
            for tap in range(kernel[i])
        ]
        for i in (0, 1)
    ]
    products = []
    for i, rows in enumerate(overlaps[0]):
        for j, columns in enumerate(overlaps[1]):
            if rows[1].stop == rows[1].start or columns[1].stop == columns[1].start:
                continue
            for k in range(geometry.groups * num_blocks):
                group, block = divmod(k, num_blocks)
                read, write = slice(k * depth, (k + 1) * depth), slice(group * width, (group + 1) * width)
                products.append(_Product((i, j), block, (rows[0], columns[0], read), (rows[1], columns[1], write)))
    return products


def _plan(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> list[_Product]:
    num_blocks = scale.shape[2]
    depth, width = weight.shape[1] // num_blocks, weight.shape[0] // geometry.groups
    return _products(map_size(x), map_size(weight), geometry, depth, width, num_blocks)


class Taps(torch.autograd.Function):
    """Makes the products again in the backward pass instead of keeping a map per tap.

    Keeping them would save 0.3 of a plain convolution's time, and cost nine times its output in memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.geometry = geometry
        x_NHWC, slices, rows = _tap_major(x, weight, scale, geometry)
        height, width = geometry.output_size(map_size(x), map_size(weight))
        output = x_NHWC.new_zeros(x.shape[0], height, width, weight.shape[0])
        for part in parts(x, 2 * output.shape[1:].numel()):
            for product in _plan(x, weight, scale, geometry):
                inputs = x_NHWC[part][:, *product.read]
                maps = inputs.flatten(0, 2) @ _slice(slices, product).t()
                written = output[part][:, *product.write]
                written.addcmul_(maps.view_as(written), _factor(rows, part, product))
        return output.permute(0, 3, 1, 2).contiguous(memory_format=memory_format_of(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, scale = ctx.saved_tensors
        x_NHWC, slices, rows = _tap_major(x, weight, scale, ctx.geometry)
        grad_NHWC = grad.permute(0, 2, 3, 1).contiguous()
        grad_x, grad_slices = torch.zeros_like(x_NHWC), torch.zeros_like(slices, dtype=sum_dtype(weight))
        grad_scale = scale.new_zeros(*scale.shape[3:], scale.shape[2], x.shape[0], weight.shape[0])
        for part in parts(x, 2 * grad.shape[1:].numel()):
            for product in _plan(x, weight, scale, ctx.geometry):
                inputs = x_NHWC[part][:, *product.read].flatten(0, 2)
                wanted = grad_NHWC[part][:, *product.write]
                scaled = (wanted * _factor(rows, part, product)).flatten(0, 2)
                tap_slice = _slice(slices, product)
                read = grad_x[part][:, *product.read]
                read += (scaled @ tap_slice).view_as(read)
                _slice(grad_slices, product).add_(scaled.t() @ inputs)
                maps = (inputs @ tap_slice.t()).view_as(wanted)
                factor = grad_scale[*product.tap, product.block, part, product.write[2]]
                factor += (wanted * maps).sum((1, 2))
        return (
            grad_x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format_of(x)),
            grad_slices.permute(0, 3, 1, 2).to(weight.dtype),
            grad_scale.permute(3, 4, 2, 0, 1),
            None,
        )


def _tap_major(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """Return x as (N, H, W, C1), K as (C2, h, w, C1 / groups) and S as (h, w, J, N, 1, W of the output, C2).

    S is repeated along a row so that the scaling runs over whole rows: 5x faster at 64 channels than over channels.
    """
    x_NHWC = x.permute(0, 2, 3, 1).contiguous()
    slices = weight.permute(0, 2, 3, 1).to(x.dtype).contiguous()
    rows = scale.permute(3, 4, 2, 0, 1).to(x.dtype)[..., None, None, :]
    width = geometry.output_size(map_size(x), map_size(weight))[1]
    return x_NHWC, slices, rows.expand(*rows.shape[:-2], width, -1).contiguous()


def _slice(slices: Tensor, product: _Product) -> Tensor:
    """Return the weights of a product, (C2 / groups, C1 / groups / J)."""
    depth = product.read[2].stop - product.read[2].start
    columns = slice(product.block * depth, (product.block + 1) * depth)
    return slices[product.write[2], *product.tap, columns]


def _factor(rows: Tensor, part: slice, product: _Product) -> Tensor:
    """Return the factors of a product in a part of the batch, (images, 1, width, C2 / groups)."""
    _, columns, channels = product.write
    return rows[*product.tap, product.block, part, :, columns, channels]
