"""Which kernels of `aw_kernels` a convolution takes, on what tiles.

Tiles are measured once for a shape, among a few (Triton's autotuner; its cache on the disk keeps the result). Parts of
a sum are written and then summed: no sum has an order that depends on time.

Tensors are channels last, and of one dtype but for the factors. `steps` are (stride, padding, dilation), each for
rows and columns.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.testing  # type: ignore[import-untyped, import-not-found, unused-ignore]
from torch import Tensor

from search_spaces.attention.ops import aw_kernels
from search_spaces.attention.ops.aw_kernels import Conv

Grid = Callable[[dict[str, int]], tuple[int, ...]]
"""Says from the sizes of a tile how many programs there are."""

SMALL_MAP = 32
"""Up to how many positions of the output dK and dS take a product each, instead of one for both.

That one is half the products, but each value of its G (see `aw_kernels.image_grads`), a sum over the positions of one
image, costs some three operations more, and tensor cores make about 16 products in the time of one operation."""

LARGE = 2**14
"""From how many positions in a batch on tiles are measured apart: so many fill the processors of a large device."""

PROGRAMS = 512
"""How many programs a sum over the batch is divided among: some for each processor of a large device."""


class Tile(NamedTuple):
    """The shape of a tile (m, n), how much of a sum is taken in a step (k), the warps, and the steps under way."""

    m: int
    n: int
    k: int
    warps: int
    stages: int


TILES = (Tile(128, 128, 64, 8, 3), Tile(128, 64, 64, 8, 3), Tile(64, 64, 64, 4, 4))
GRAD_TILES = (Tile(128, 64, 64, 8, 3), Tile(64, 64, 64, 4, 3), Tile(64, 64, 32, 4, 4))
EXACT_TILES = (Tile(64, 64, 16, 8, 3), Tile(32, 64, 32, 4, 3))
"""For products of float32 without TF32, which tensor cores do not have."""
INTERPRETED_TILES = (Tile(32, 16, 16, 4, 1),)
"""For Triton's interpreter (TRITON_INTERPRET=1), where there is nothing to measure."""
DEEPEST = 64
"""What every k divides."""


def forward(x: Tensor, weight: Tensor, scale: Tensor, out: Tensor, steps: Sequence[int]) -> None:
    """Write O into `out`."""
    conv = _conv(weight, steps)
    tiles = _clip(_tiles_for(x, TILES), conv.c2, conv.c1)
    grid, one_image = _over_positions(x.shape[0], out.shape[2] * out.shape[3], conv.c2)
    _run("forward", tiles, grid, (x, weight, scale, out), x, out, conv, ONE_IMAGE=one_image)


def input_grad(grad: Tensor, weight: Tensor, scale: Tensor, out: Tensor, steps: Sequence[int]) -> None:
    """Write the gradient of the input into `out`."""
    conv = _conv(weight, steps)
    positions = _cdiv(out.shape[2], conv.stride_y) * _cdiv(out.shape[3], conv.stride_x)
    tiles = _clip(_tiles_for(grad, TILES), conv.c1, conv.c2)
    # Rounded, as is their product with `grad`: of small maps a tile holds one of each per position.
    arguments = (grad, weight, scale.to(grad.dtype), out)
    grid, one_image = _over_positions(out.shape[0], positions, conv.c1, conv.phases)
    _run("input_grad", tiles, grid, arguments, out, grad, conv, ONE_IMAGE=one_image)


def weight_and_scale_grads(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, steps: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the weight, (C2, h, w, C1), and of the factors, (N, h, w, C2), in float32."""
    conv = _conv(weight, steps)
    if grad.shape[2] * grad.shape[3] > SMALL_MAP:
        return _both_grads(grad, x, weight, scale, conv)
    return _weight_grad(grad, x, scale, conv), _scale_grad(grad, x, weight, conv)


def _both_grads(grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, conv: Conv) -> tuple[Tensor, Tensor]:
    images, positions = grad.shape[0], grad.shape[2] * grad.shape[3]
    tiles = _clip(_tiles_for(x, GRAD_TILES), conv.c1, positions, conv.c2)
    per_part = _cdiv(images, _num_parts(conv))
    weight_parts = _float32(x, _cdiv(images, per_part), conv.c2, conv.h, conv.w, conv.c1)
    assert len({tile.n for tile in tiles}) == 1  # The tuner chooses among them after their number is settled here.
    scale_parts = _float32(x, _cdiv(conv.c1, tiles[0].n), images, conv.h, conv.w, conv.c2)
    arguments = (grad, x, weight, scale, weight_parts, scale_parts, per_part)
    _run("image_grads", tiles, _over_weights(conv, len(weight_parts)), arguments, x, grad, conv)
    return weight_parts.sum(0), scale_parts.sum(0)


def _weight_grad(grad: Tensor, x: Tensor, scale: Tensor, conv: Conv) -> Tensor:
    pixels = grad.shape[0] * grad.shape[2] * grad.shape[3]
    tiles = _clip(_tiles_for(x, GRAD_TILES), conv.c1, DEEPEST, conv.c2)
    per_part = DEEPEST * _cdiv(pixels, DEEPEST * _num_parts(conv))
    parts = _float32(x, _cdiv(pixels, per_part), conv.c2, conv.h, conv.w, conv.c1)
    grid = _over_weights(conv, len(parts))
    _run("flat_weight_grad", tiles, grid, (grad, x, scale.to(grad.dtype), parts, per_part), x, grad, conv)
    return parts.sum(0)


def _scale_grad(grad: Tensor, x: Tensor, weight: Tensor, conv: Conv) -> Tensor:
    images, room = grad.shape[0], _power_of_2(grad.shape[2] * grad.shape[3])
    out = _float32(x, images, conv.h, conv.w, conv.c2)

    def grid(meta: dict[str, int]) -> tuple[int]:
        return (_cdiv(images, meta["BLOCK_M"] // room) * _cdiv(conv.c2, meta["BLOCK_N"]),)

    tiles = _clip(_tiles_for(x, TILES), conv.c2, conv.c1)
    _run("flat_scale_grad", tiles, grid, (grad, x, weight, out), x, grad, conv, ROOM=room)
    return out


def _over_positions(images: int, positions: int, channels: int, phases: int = 1) -> tuple[Grid, bool]:
    """Return the grid of tiles (positions, channels), and whether each belongs to one image."""
    # Such tiles have fewer factors to load; up to an eighth of their positions may be left without use.
    one_image = 8 * 64 * _cdiv(positions, 64) <= 9 * positions

    def grid(meta: dict[str, int]) -> tuple[int, int]:
        m = meta["BLOCK_M"]
        tiles = images * _cdiv(positions, m) if one_image else _cdiv(images * positions, m)
        return tiles * _cdiv(channels, meta["BLOCK_N"]), phases

    return grid, one_image


def _over_weights(conv: Conv, num_parts: int) -> Grid:
    def grid(meta: dict[str, int]) -> tuple[int, int]:
        return conv.taps * _cdiv(conv.c2, meta["BLOCK_M"]) * _cdiv(conv.c1, meta["BLOCK_N"]), num_parts

    return grid


def _run(
    name: str,
    tiles: tuple[Tile, ...],
    grid: Grid,
    arguments: tuple[Any, ...],
    x: Tensor,
    out: Tensor,
    conv: Conv,
    **constants: Any,
) -> None:
    """Launch a kernel on the device of x; x has the shape of the input, `out` that of the output."""
    size = "large" if out.shape[0] * out.shape[2] * out.shape[3] >= LARGE else "small"
    constants |= {"CONV": conv, "PRECISION": _precision(x), "CLASS": f"{conv}, {_precision(x)}, {size}"}
    sizes = (x.shape[0], *x.shape[2:], *out.shape[2:])
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        _tuned(name, tiles)[grid](*arguments, *sizes, **constants)


@functools.cache
def _tuned(name: str, tiles: tuple[Tile, ...]) -> Any:
    configs = [
        triton.Config({"BLOCK_M": t.m, "BLOCK_N": t.n, "BLOCK_K": t.k}, num_warps=t.warps, num_stages=t.stages)
        for t in tiles
    ]
    key = ["height", "width", "out_height", "out_width", "CLASS"]
    measure = functools.partial(triton.testing.do_bench, warmup=5, rep=20)
    return triton.autotune(configs, key=key, do_bench=measure, cache_results=True)(getattr(aw_kernels, name))


def _tiles_for(x: Tensor, tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
    if triton.knobs.runtime.interpret:
        return INTERPRETED_TILES
    if x.dtype == torch.float32:
        return tuple(t._replace(k=t.k // 2) for t in tiles) if _precision(x) == "tf32" else EXACT_TILES
    return tiles


def _clip(tiles: tuple[Tile, ...], n: int, k: int, m: int | None = None) -> tuple[Tile, ...]:
    """Return the different tiles that are left of these where there is no more than n, k and m.

    Tensor cores need 16 of each at least, and four warps at once on Hopper.
    """

    def fit(size: int, there_is: int) -> int:
        return min(size, max(16, _power_of_2(there_is)))

    fitting = (t._replace(m=t.m if m is None else fit(t.m, m), n=fit(t.n, n), k=fit(t.k, k)) for t in tiles)
    return tuple(dict.fromkeys(t._replace(warps=min(t.warps, max(4, t.m * t.n // 1024))) for t in fitting))


def _precision(x: Tensor) -> str:
    # Not `allow_tf32`, which may not be read where the newer setting was written.
    allowed = x.dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    return "tf32" if allowed else "ieee"


def _num_parts(conv: Conv) -> int:
    return max(1, PROGRAMS // (conv.taps * _cdiv(conv.c1, 64) * _cdiv(conv.c2, 64)))


def _conv(weight: Tensor, steps: Sequence[int]) -> Conv:
    return Conv(weight.shape[1], weight.shape[0], weight.shape[2], weight.shape[3], *steps)


def _float32(like: Tensor, *shape: int) -> Tensor:
    return like.new_empty(shape, dtype=torch.float32)


def _cdiv(a: int, b: int) -> int:
    return -(-a // b)


def _power_of_2(number: int) -> int:
    """Return the first power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()
