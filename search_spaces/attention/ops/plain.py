"""The plain expressions of what this folder computes in fewer passes, by the same names.

Code that is exported has these (`nas export`): they need torch alone, and can be read beside the papers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Axes = tuple[int, ...]
POSITIONS: Axes = (2, 3)
CHANNELS: Axes = (1,)


def average(x_BCHW: Tensor) -> Tensor:
    """Return the mean over the positions, (B, C)."""
    return x_BCHW.mean((2, 3))


def average_and_maximum(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the maximum over the positions, (B, C) each."""
    return x_BCHW.mean((2, 3)), x_BCHW.amax((2, 3))


def maximum_and_average_of_channels(x_BCHW: Tensor) -> Tensor:
    """Return the maximum and the mean over the channels, (B, 2, H, W)."""
    return torch.cat((x_BCHW.amax(1, keepdim=True), x_BCHW.mean(1, keepdim=True)), 1)


def scale_positions(x_BCHW: Tensor, weights_B1HW: Tensor) -> Tensor:
    """Multiply each position by its weight."""
    return x_BCHW * weights_B1HW


def add_to_channels(x_BCHW: Tensor, terms_BC: Tensor) -> Tensor:
    """Add to each channel its term."""
    return x_BCHW + terms_BC[:, :, None, None]


def join(
    operation: Callable[[Tensor, Tensor], Tensor],
    channels_BC: Tensor,
    positions_B1HW: Tensor,
    like_BCHW: Tensor,  # noqa: ARG001  # whose layout the answer has where that matters
) -> Tensor:
    """Return an elementwise operation of every channel with every position, (B, C, H, W)."""
    return operation(channels_BC[:, :, None, None], positions_B1HW)


def add_share(x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
    """Return x + weights x."""
    return torch.addcmul(x_BCHW, x_BCHW, weights_BCHW)


def select(weights: Tensor, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
    """Return weights x + (1 - weights) y."""
    return y_BCHW + weights * (x_BCHW - y_BCHW)


def is_eager_on_cpu(x: Tensor) -> bool:  # noqa: ARG001
    """Say no: there is no special case here."""
    return False


def widen(x: Tensor, *, copy: bool = False) -> Tensor:
    """Return x in float32 or better."""
    return x.to(torch.float32 if x.dtype.itemsize < 4 else x.dtype, copy=copy)


def entropy(x_BCHW: Tensor, softmax_over: Axes, sum_over: Axes) -> Tensor:
    """Return -sum p log p over some axes, p = softmax of x over some; the summed axes stay, as 1."""
    log_p_BCHW = _log_softmax(widen(x_BCHW), softmax_over)
    return -(log_p_BCHW.exp() * log_p_BCHW).sum(sum_over, keepdim=True)


def _log_softmax(x_BCHW: Tensor, axes: Axes) -> Tensor:
    shifted_BCHW = x_BCHW - x_BCHW.detach().amax(axes, keepdim=True)
    return shifted_BCHW - shifted_BCHW.exp().sum(axes, keepdim=True).log()


def mean_and_entropy(x_BCHW: Tensor, sides: tuple[Axes, ...]) -> list[tuple[Tensor, Tensor]]:
    """Return the mean and the entropy of x over each of `sides`, in float32 or better."""
    return [(widen(x_BCHW).mean(side, keepdim=True), entropy(x_BCHW, side, side)) for side in sides]


def blurred_maxima(x_BCHW: Tensor, sides: tuple[Axes, ...], size: int, sigma: float) -> list[Tensor]:
    """Return the maxima over each of `sides` after a Gaussian along H, or along H and W, each channel for itself.

    At the border the taps outside of the map are left out and the others weighted up to a sum of 1.
    """
    taps = gaussian_taps(size, sigma, x_BCHW)
    inside_HW = weight_inside(taps, x_BCHW.shape[2])[:, None]
    along_height_BCHW = filter_channels(x_BCHW, taps[:, None])
    maxima = []
    for side in sides:
        if side == CHANNELS:
            blurred_BCHW = filter_channels(along_height_BCHW, taps[None])
            maxima.append(blurred_BCHW.amax(1, keepdim=True) / (inside_HW * weight_inside(taps, x_BCHW.shape[3])))
        else:
            maxima.append((along_height_BCHW.amax(3, keepdim=True) / inside_HW).amax(2, keepdim=True))
    return maxima


def gaussian_taps(size: int, sigma: float, like: Tensor) -> Tensor:
    """Return the taps of a Gaussian, (size,), of sum 1, in a type of at least float32."""
    offsets = torch.arange(size, device=like.device, dtype=widen(like[:0]).dtype) - size // 2
    taps = (offsets.square() / (-2 * sigma**2)).exp()
    return taps / taps.sum()


def weight_inside(taps: Tensor, length: int) -> Tensor:
    """Return the sum of the taps that lie inside of a map of this length, at each of its positions."""
    offsets = torch.arange(len(taps), device=taps.device) - len(taps) // 2
    places = torch.arange(length, device=taps.device)[:, None] + offsets
    return (taps * ((places >= 0) & (places < length))).sum(1)


def filter_channels(x_BCHW: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel with zeros outside."""
    if kernel.numel() == 1:
        return x_BCHW
    channels, (height, width) = x_BCHW.shape[1], kernel.shape
    kernels = kernel.to(x_BCHW.dtype).expand(channels, 1, height, width)
    return functional.conv2d(x_BCHW, kernels, padding=(height // 2, width // 2), groups=channels)


def convolve_single_channel(x_B1HW: Tensor, weight_11KK: Tensor) -> Tensor:
    """Return the convolution with an odd kernel, zeros outside, (B, 1, H, W)."""
    return functional.conv2d(x_B1HW, weight_11KK, padding=weight_11KK.shape[-1] // 2)


def weigh_two_sided(x_BCHW: Tensor, channel_BC11: Tensor, spatial_B1HW: Tensor) -> Tensor:
    """Return x (c + s), of the type of x."""
    return x_BCHW * (channel_BC11 + spatial_B1HW).to(x_BCHW.dtype)


@dataclass(frozen=True)
class Geometry:
    """How a zero-padded convolution reads its input."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


def convolve(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution whose weights differ from image to image by a factor, O[l] = conv(I[l], S[l] K).

    x is (N, C1, H, W), the weight K (C2, C1 / groups, h, w), the factor S (N, C2, J, h, w): the same for each of J
    blocks of a group's input channels. The taps of the kernel are taken one by one: of each, the 1x1 convolution of
    the shifted input, scaled.
    """
    groups, num_blocks = geometry.groups, scale.shape[2]
    (top, left), (down, right) = geometry.padding, geometry.stride
    padded = functional.pad(x, (left, left, top, top))
    span = [geometry.dilation[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1)]
    height, width = ((padded.shape[2 + axis] - span[axis] - 1) // geometry.stride[axis] + 1 for axis in (0, 1))
    # (groups, C2 / groups, J, C1 / groups / J, h, w) -> (groups J C2 / groups, C1 / groups / J, h, w)
    blocks = torch.unflatten(torch.unflatten(weight, 1, (num_blocks, -1)), 0, (groups, -1))
    slices = blocks.transpose(1, 2).flatten(0, 2).to(x.dtype)
    factors = torch.unflatten(scale, 1, (groups, -1)).transpose(2, 3).to(x.dtype)  # (N, groups, J, C2 / groups, h, w)
    terms = []
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            row, column = i * geometry.dilation[0], j * geometry.dilation[1]
            shifted = padded[:, :, row : row + down * (height - 1) + 1, column : column + right * (width - 1) + 1]
            one_by_one = slices[:, :, i : i + 1, j : j + 1]
            maps = functional.conv2d(shifted, one_by_one, None, (down, right), groups=groups * num_blocks)
            factor = factors[..., i, j, None, None]
            terms.append((torch.unflatten(maps, 1, factor.shape[1:4]) * factor).sum(2).flatten(1, 2))
    return torch.stack(terms).sum(0)


def pool(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the adaptive average of x over a grid of windows, and x."""
    return functional.adaptive_avg_pool2d(x, size), x
