"""Ways to compute a convolution whose weights differ from image to image by a factor.

    O[l] = conv(I[l], S[l] K)        (Baozhou et al., 2021, arXiv:2108.08205, eq. 5)

Every form is a function of x (N, C1, H, W), the weight K (C2, C1 / groups, h, w), the factor S (N, C2, J, h, w)
and the convolution's `Geometry`; it returns O without bias, in the memory format of x. S is the same for each of
J blocks of a group's input channels (1: it does not depend on the input channel). The forms are equal up to the
order of their sums. On a CPU the fastest follows from the shapes, and `choose_form` says it; on a CUDA device those
that apply are tried (`aw_choice`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.attention.ops import aw_device
from search_spaces.attention.ops.aw_autograd import (
    Geometry,
    Grouped,
    Pool,
    Taps,
    kernels,
    map_size,
    memory_format_of,
    side_by_side,
)
from search_spaces.attention.ops.aw_choice import Problem, fastest
from search_spaces.attention.ops.aw_columns import Columns, has_columns

__all__ = ["FORMS", "Geometry", "choose_form", "convolve", "kernels", "pool"]

COLUMNS_FROM = 32
TAPS_FROM = 64
"""`grouped` is the fastest where products sum over fewer than `COLUMNS_FROM` channels, and `taps` are for `TAPS_FROM`
channels or more."""


@dataclass(frozen=True)
class _Crossings:
    """Positions of the output per channel that a product sums over, where another form becomes the fastest."""

    taps_below: float
    grouped_above: float


NARROW = _Crossings(taps_below=2, grouped_above=4)
"""In bfloat16, measured on a CPU that computes in it, and wherever there is no `columns`."""
WIDE = _Crossings(taps_below=0.5, grouped_above=math.inf)
"""In float32, measured on a CPU with AVX2."""


def convolve(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry, form: str | None = None) -> Tensor:
    """Return O in the form asked for (of `FORMS`), by default the one that `choose_form` gives."""
    x = _in_compute_dtype(x)
    form = form or choose_form(x, weight, scale, geometry)
    if form in TRIED and _may_try(x):
        form = _fastest_on_device(x, weight, scale, geometry)
    return FORMS[form](x, weight, scale, geometry)


def choose_form(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> str:
    """Return the name of the form to use, from the shapes alone.

    `grouped` and `columns` pay for a kernel per image, C1 values per tap and output channel: little beside the
    products if there are many positions. `grouped` also puts the images' channels beside each other, where a
    convolution wants its kernels in an order of its own; `columns` copies what it reads once for each tap: little if
    there are few positions. `taps` pays for maps that are scaled and added, one per C1 products: little if there are
    many channels. `columns` is for eager mode on a CPU alone. With groups or several blocks, C1 is what a product
    sums over. Where they cross was measured on a CPU (benchmarks/aw.py). An exported network uses `taps`, as in ONNX
    the number of groups cannot be the size of the batch.
    """
    if isinstance(x.shape[0], int) and x.shape[0] == 1:
        return "single"
    num_blocks, *kernel_size = scale.shape[2:]
    if num_blocks == 1 and kernel_size == [1, 1]:
        return "gate"
    if torch.compiler.is_exporting():
        return "taps"
    height, width = geometry.output_size(map_size(x), map_size(weight))
    num_channels = weight.shape[1] // num_blocks
    by_columns = has_columns(weight, geometry) and not (x.is_cuda or torch.compiler.is_compiling())
    crossings = WIDE if by_columns and x.dtype.itemsize >= 4 else NARROW
    if num_channels < COLUMNS_FROM or height * width > crossings.grouped_above * num_channels:
        return "grouped"
    if num_channels >= TAPS_FROM and height * width < crossings.taps_below * num_channels:
        return "taps"
    return "columns" if by_columns else "grouped"


def _may_try(x: Tensor) -> bool:
    """Whether the choice may depend on measured times: not where the same bits are asked for, or nothing may be run."""
    if not x.is_cuda or torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return False
    return not torch.cuda.is_current_stream_capturing()


def _fastest_on_device(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> str:
    names = [*TRIED, "kernels"] if geometry.groups == scale.shape[2] == 1 and aw_device.available() else list(TRIED)
    forms = {name: partial(_run, FORMS[name], geometry) for name in names}
    last = memory_format_of(x) == torch.channels_last
    trains = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or scale.requires_grad)
    problem = Problem(x.device, x.dtype, tuple(x.shape), last, tuple(weight.shape), tuple(scale.shape), trains)
    return fastest(problem, forms, "taps", geometry)


def _run(form: "Form", geometry: Geometry, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return form(x, weight, scale, geometry)


def single(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Convolve one image (N = 1) with its kernel."""
    return geometry.convolve(x, kernels(weight, scale)[0].to(x.dtype), geometry.groups)


def gate(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Scale the output of a 1x1 convolution, which is the same where J = 1."""
    return geometry.convolve(x, weight.to(x.dtype), geometry.groups) * scale[:, :, 0].to(x.dtype)


def grouped(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Convolve all images at once: side by side as channels of one image, N times the groups."""
    if torch.compiler.is_compiling():
        return _grouped(x, kernels(weight, scale).to(x.dtype), geometry)
    output: Tensor = Grouped.apply(x, weight, scale, geometry)
    return output


def columns(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Multiply what each position reads by its image's kernel (where `has_columns`)."""
    output: Tensor = Columns.apply(x, weight, scale, geometry)
    return output


def taps(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Add up, over the taps (and blocks), the 1x1 convolution of the shifted input with the tap's slice, scaled.

    O = sum over t of S_t (K_t * I shifted by t), where * is a 1x1 convolution.
    """
    if torch.compiler.is_compiling():
        return _taps(x, weight.to(x.dtype), scale.to(x.dtype), geometry)
    output: Tensor = Taps.apply(x, weight, scale, geometry)
    return output


def kernels_on_device(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Scale each tap's product where it is computed, in one kernel (without groups, J = 1)."""
    from search_spaces.attention.ops import aw_triton  # and with it what there is of Triton

    steps = geometry.stride, geometry.padding, geometry.dilation
    return aw_triton.tap_scaled_conv(x, weight.to(x.dtype), scale[:, :, 0], *steps)


Form = Callable[[Tensor, Tensor, Tensor, Geometry], Tensor]
FORMS: dict[str, Form] = {
    "single": single,
    "gate": gate,
    "grouped": grouped,
    "columns": columns,
    "taps": taps,
    "kernels": kernels_on_device,
}

TRIED = ("grouped", "taps")
"""The forms between which only a measurement decides on a CUDA device, there together with `kernels`."""


def pool(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the adaptive average of x over a grid of windows, and x for the convolution to read.

    The gradients of both then come together, and the average's is added to the convolution's in place.
    """
    if torch.compiler.is_compiling() or not (x.requires_grad and torch.is_grad_enabled()):
        return functional.adaptive_avg_pool2d(x, size), x
    pooled, same = Pool.apply(x, size)
    return pooled, same


def _in_compute_dtype(x: Tensor) -> Tensor:
    """Return x as autocast would hand it to a convolution."""
    device = x.device.type
    if x.dtype == torch.float64 or device == "meta" or not torch.is_autocast_enabled(device):
        return x
    return x.to(torch.get_autocast_dtype(device))


# The forms as plain expressions: for compilers and exporters, which plan memory themselves.


def _grouped(x: Tensor, kernels_NPCHW: Tensor, geometry: Geometry) -> Tensor:
    num_images = x.shape[0]
    output = geometry.convolve(side_by_side(x), kernels_NPCHW.flatten(0, 1), num_images * geometry.groups)
    return output.view(num_images, -1, *output.shape[2:]).contiguous(memory_format=memory_format_of(x))


def _taps(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    """Where there are blocks, they are further groups of the 1x1 convolutions, and are summed at the end."""
    groups, num_blocks = geometry.groups, scale.shape[2]
    (top, left), (down, right) = geometry.padding, geometry.stride
    height, width = geometry.output_size(map_size(x), map_size(weight))
    padded = functional.pad(x, (left, left, top, top))
    # (groups, C2 / groups, J, C1 / groups / J, h, w) -> (groups J C2 / groups, C1 / groups / J, h, w)
    blocks = torch.unflatten(torch.unflatten(weight, 1, (num_blocks, -1)), 0, (groups, -1))
    slices = blocks.transpose(1, 2).flatten(0, 2)
    factors = torch.unflatten(scale, 1, (groups, -1)).transpose(2, 3)  # (N, groups, J, C2 / groups, h, w)
    output: Tensor | None = None
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            row, column = i * geometry.dilation[0], j * geometry.dilation[1]
            shifted = padded[:, :, row : row + down * (height - 1) + 1, column : column + right * (width - 1) + 1]
            one_by_one = slices[:, :, i : i + 1, j : j + 1]
            maps = functional.conv2d(shifted, one_by_one, None, (down, right), groups=groups * num_blocks)
            factor = factors[..., i, j, None, None]
            scaled = (torch.unflatten(maps, 1, factor.shape[1:4]) * factor).sum(2).flatten(1, 2)
            output = scaled if output is None else output + scaled
    assert output is not None
    return output
