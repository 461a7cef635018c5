"""Triton kernels of a convolution with a factor per (image, output channel, tap).

    O[n, p, y, x] = sum over t = (j, k) of S[n, p, t] sum over c of K[p, c, t] I[n, c, y s + j d - q, x s + k d - q]

(Baozhou et al., 2021, arXiv:2108.08205, eq. 5 and 6, S = 1 + A), with s, d, q the stride, dilation and padding of an
axis. All of them are implicit matrix products: neither an unfolded input nor a kernel per image is ever in memory.
Layouts are channels last: I (N, H, W, C1), O (N, OH, OW, C2), K (C2, h, w, C1), S (N, h, w, C2). Sums are float32.

A tile of positions belongs to one image (`ONE_IMAGE`: the factors are one row for the whole tile) or, where maps are
small, to as many as it holds (the factors are gathered per position).

`aw_triton` launches them, and imports this file when it first does: Triton comes with CUDA builds of PyTorch alone.
"""

# mypy: disable-error-code="import-untyped, import-not-found, untyped-decorator, no-untyped-def, unused-ignore"
# The bodies are Triton's language, which only looks like Python.

from dataclasses import dataclass

import triton
import triton.language as tl


@dataclass(frozen=True)
class Conv:
    """What a kernel is compiled for: channels, and (rows, columns) of the kernel and its steps."""

    c1: int
    c2: int
    h: int
    w: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int
    dilation_y: int
    dilation_x: int

    @property
    def taps(self) -> int:
        """Return the number of taps."""
        return self.h * self.w

    @property
    def phases(self) -> int:
        """Return into how many phases (y mod stride, x mod stride) the input falls."""
        return self.stride_y * self.stride_x


@triton.jit
def _positions(tile, num_images, num_positions, BLOCK: tl.constexpr, ONE_IMAGE: tl.constexpr):
    """Return image (a number if `ONE_IMAGE`), position and whether there is one, for each row of a tile."""
    if ONE_IMAGE:
        tiles = tl.cdiv(num_positions, BLOCK)
        image = tile // tiles
        position = tile % tiles * BLOCK + tl.arange(0, BLOCK)
        known = position < num_positions
    else:
        row = tile * BLOCK + tl.arange(0, BLOCK)
        image = row // num_positions
        position = row % num_positions
        known = image < num_images
    return image, position, known


@triton.jit
def _read_by(image, position, known, tap, height, width, out_width, CONV: tl.constexpr):
    """Return which pixel of the input an output position reads for a tap, and whether it lies inside."""
    y = position // out_width * CONV.stride_y + tap // CONV.w * CONV.dilation_y - CONV.pad_y
    x = position % out_width * CONV.stride_x + tap % CONV.w * CONV.dilation_x - CONV.pad_x
    inside = known & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return (image * height + y) * width + x, inside


@triton.jit
def _load(values, row, known, channel, CHANNELS: tl.constexpr):
    """Return a tile of a (rows, CHANNELS) matrix, 0 where there is none."""
    mask = known[:, None] & (channel < CHANNELS)[None, :]
    return tl.load(values + row[:, None] * CHANNELS + channel[None, :], mask=mask, other=0.0)


@triton.jit
def _load_transposed(values, row, known, channel, CHANNELS: tl.constexpr):
    """Return what `_load` does, transposed. (A tile that is turned after loading is not copied ahead on sm_80.)"""
    mask = known[None, :] & (channel < CHANNELS)[:, None]
    return tl.load(values + row[None, :] * CHANNELS + channel[:, None], mask=mask, other=0.0)


@triton.jit
def _store(values, tile, row, known, channel, CHANNELS: tl.constexpr):
    """Write a tile of a (rows, CHANNELS) matrix in its dtype."""
    mask = known[:, None] & (channel < CHANNELS)[None, :]
    tl.store(values + row[:, None] * CHANNELS + channel[None, :], tile.to(values.dtype.element_ty), mask=mask)


@triton.jit
def _load_factors(scale, image, known, tap, channel, CONV: tl.constexpr, ONE_IMAGE: tl.constexpr):
    """Return a tap's factors for a tile of positions and output channels (one row if `ONE_IMAGE`), as float32."""
    row = image * CONV.taps + tap
    if ONE_IMAGE:
        factors = tl.load(scale + row * CONV.c2 + channel, mask=channel < CONV.c2, other=0.0)[None, :]
    else:
        factors = _load(scale, row, known, channel, CONV.c2)
    return factors.to(tl.float32)


@triton.jit
def _load_weights(weight, out_channel, tap, in_channel, CONV: tl.constexpr):
    """Return a tile of a tap's weights; one of the two channels is a row and the other a column."""
    mask = (out_channel < CONV.c2) & (in_channel < CONV.c1)
    return tl.load(weight + (out_channel * CONV.taps + tap) * CONV.c1 + in_channel, mask=mask, other=0.0)


@triton.jit
def _tap_product(
    x,
    weight,
    row,
    inside,
    tap,
    channel,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return sum over c of K[p, c, t] I[n, c] for a tile of (positions, output channels)."""
    product = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in tl.range(0, CONV.c1, BLOCK_K):
        depth = start + tl.arange(0, BLOCK_K)
        inputs = _load(x, row, inside, depth, CONV.c1)
        weights = _load_weights(weight, channel[None, :], tap, depth[:, None], CONV)
        product = tl.dot(inputs, weights, product, input_precision=PRECISION)
    return product


@triton.jit
def forward(
    x,
    weight,
    scale,
    out,
    num_images,
    height,
    width,
    out_height,
    out_width,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    CLASS: tl.constexpr,  # noqa: ARG001 - the tuner's
    ONE_IMAGE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write O; a tile is (positions, output channels).

    A tap's product is complete before it is scaled: one multiply-add by a factor for C1 of the product.
    """
    program, blocks = tl.program_id(0), tl.cdiv(CONV.c2, BLOCK_N)
    channel = program % blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    num_positions = out_height * out_width
    image, position, known = _positions(program // blocks, num_images, num_positions, BLOCK_M, ONE_IMAGE)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for tap in tl.range(0, CONV.taps, flatten=True):
        row, inside = _read_by(image, position, known, tap, height, width, out_width, CONV)
        product = _tap_product(x, weight, row, inside, tap, channel, CONV, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K)
        total += product * _load_factors(scale, image, known, tap, channel, CONV, ONE_IMAGE)
    _store(out, total, image * num_positions + position, known, channel, CONV.c2)


@triton.jit
def _add_tap(
    total,
    grad,
    weight,
    scale,
    image,
    known,
    y,
    x,
    tap,
    channel,
    out_height,
    out_width,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    ONE_IMAGE: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return `total` with what one tap adds to the gradient of the inputs at (y, x)."""
    out_y = (y + CONV.pad_y - tap // CONV.w * CONV.dilation_y) // CONV.stride_y
    out_x = (x + CONV.pad_x - tap % CONV.w * CONV.dilation_x) // CONV.stride_x
    inside = known & (out_y >= 0) & (out_y < out_height) & (out_x >= 0) & (out_x < out_width)
    row = (image * out_height + out_y) * out_width + out_x
    for start in tl.range(0, CONV.c2, BLOCK_K):
        depth = start + tl.arange(0, BLOCK_K)
        grads = _load(grad, row, inside, depth, CONV.c2)
        scaled = grads * _load_factors(scale, image, inside, tap, depth, CONV, ONE_IMAGE)
        weights = _load_weights(weight, depth[:, None], tap, channel[None, :], CONV)
        total = tl.dot(scaled.to(grads.dtype), weights, total, input_precision=PRECISION)
    return total


@triton.jit
def input_grad(
    grad,
    weight,
    scale,
    out,
    num_images,
    height,
    width,
    out_height,
    out_width,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    CLASS: tl.constexpr,  # noqa: ARG001
    ONE_IMAGE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write dI[n, c] = sum over t, p of K[p, c, t] (S[n, p, t] dO[n, p], shifted by t).

    A tile is (positions, input channels). With strides, its positions are of one phase (y mod s, x mod s): the same
    taps read all of them, and the other taps are left out.
    """
    program, phase, blocks = tl.program_id(0), tl.program_id(1), tl.cdiv(CONV.c1, BLOCK_N)
    channel = program % blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    first_y, first_x = phase // CONV.stride_x, phase % CONV.stride_x
    rows, columns = tl.cdiv(height, CONV.stride_y), tl.cdiv(width, CONV.stride_x)
    image, position, known = _positions(program // blocks, num_images, rows * columns, BLOCK_M, ONE_IMAGE)
    y = position // columns * CONV.stride_y + first_y
    x = position % columns * CONV.stride_x + first_x
    known = known & (y < height) & (x < width)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    if CONV.phases == 1:
        for tap in tl.range(0, CONV.taps, flatten=True):
            total = _add_tap(
                total, grad, weight, scale, image, known, y, x, tap, channel, out_height, out_width,
                CONV, PRECISION, ONE_IMAGE, BLOCK_K,
            )  # fmt: skip
    else:
        for tap in tl.range(0, CONV.taps):
            past_y = (first_y + CONV.pad_y - tap // CONV.w * CONV.dilation_y) % CONV.stride_y
            past_x = (first_x + CONV.pad_x - tap % CONV.w * CONV.dilation_x) % CONV.stride_x
            if (past_y == 0) & (past_x == 0):
                total = _add_tap(
                    total, grad, weight, scale, image, known, y, x, tap, channel, out_height, out_width,
                    CONV, PRECISION, ONE_IMAGE, BLOCK_K,
                )  # fmt: skip
    _store(out, total, (image * height + y) * width + x, known, channel, CONV.c1)


@triton.jit
def image_grads(
    grad,
    x,
    weight,
    scale,
    weight_parts,
    scale_parts,
    per_part,
    num_images,
    height,
    width,
    out_height,
    out_width,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    CLASS: tl.constexpr,  # noqa: ARG001
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write parts of dK and dS from G, the gradient of an image's own kernel.

    G[n, p, c, t] = sum over positions of dO[n, p] (I[n, c] shifted by t)
    dK[p, c, t] = sum over n of S[n, p, t] G[n, p, c, t],   dS[n, p, t] = sum over c of K[p, c, t] G[n, p, c, t]
    One product gives both. A tile is (output channels, input channels) of one tap. `weight_parts` (parts, C2, h, w,
    C1), of `per_part` images each, and `scale_parts` (tiles of C1, N, h, w, C2) are summed over their first axis later.
    """
    program, part, blocks = tl.program_id(0), tl.program_id(1), tl.cdiv(CONV.c1, BLOCK_N)
    tap, block = program % CONV.taps, program // CONV.taps % blocks
    out_channel = program // CONV.taps // blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    in_channel = block * BLOCK_N + tl.arange(0, BLOCK_N)
    exists = out_channel < CONV.c2
    weights = _load_weights(weight, out_channel[:, None], tap, in_channel[None, :], CONV).to(tl.float32)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    num_positions = out_height * out_width
    for image in tl.range(part * per_part, tl.minimum(part * per_part + per_part, num_images), flatten=True):
        product = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for start in tl.range(0, num_positions, BLOCK_K):
            position = start + tl.arange(0, BLOCK_K)
            known = position < num_positions
            row, inside = _read_by(image, position, known, tap, height, width, out_width, CONV)
            grads = _load_transposed(grad, image * num_positions + position, known, out_channel, CONV.c2)
            inputs = _load(x, row, inside, in_channel, CONV.c1)
            product = tl.dot(grads, inputs, product, input_precision=PRECISION)
        row = image * CONV.taps + tap
        factors = tl.load(scale + row * CONV.c2 + out_channel, mask=exists, other=0.0).to(tl.float32)
        total += product * factors[:, None]
        row += block * num_images * CONV.taps
        tl.store(scale_parts + row * CONV.c2 + out_channel, tl.sum(product * weights, 1), mask=exists)
    _store(weight_parts, total, (part * CONV.c2 + out_channel) * CONV.taps + tap, exists, in_channel, CONV.c1)


@triton.jit
def flat_weight_grad(
    grad,
    x,
    scale,
    weight_parts,
    per_part,
    num_images,
    height,
    width,
    out_height,
    out_width,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    CLASS: tl.constexpr,  # noqa: ARG001
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write parts of dK[p, c, t] = sum over images and positions of (S[n, p, t] dO[n, p]) (I[n, c] shifted by t).

    For small maps: a step of the sum goes over positions of several images, where `image_grads` has those of one.
    `weight_parts` (parts, C2, h, w, C1), of `per_part` positions each, is to be summed over its first axis.
    """
    program, part, blocks = tl.program_id(0), tl.program_id(1), tl.cdiv(CONV.c1, BLOCK_N)
    tap = program % CONV.taps
    out_channel = program // CONV.taps // blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    in_channel = program // CONV.taps % blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    num_positions = out_height * out_width
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    last = tl.minimum(part * per_part + per_part, num_images * num_positions)
    for start in tl.range(part * per_part, last, BLOCK_K):
        pixel = start + tl.arange(0, BLOCK_K)
        image, known = pixel // num_positions, pixel < last
        row, inside = _read_by(image, pixel % num_positions, known, tap, height, width, out_width, CONV)
        grads = _load_transposed(grad, pixel, known, out_channel, CONV.c2)
        factors = _load_transposed(scale, image * CONV.taps + tap, known, out_channel, CONV.c2).to(tl.float32)
        inputs = _load(x, row, inside, in_channel, CONV.c1)
        total = tl.dot((grads * factors).to(grads.dtype), inputs, total, input_precision=PRECISION)
    row = (part * CONV.c2 + out_channel) * CONV.taps + tap
    _store(weight_parts, total, row, out_channel < CONV.c2, in_channel, CONV.c1)


@triton.jit
def flat_scale_grad(
    grad,
    x,
    weight,
    out,
    num_images,
    height,
    width,
    out_height,
    out_width,
    CONV: tl.constexpr,
    PRECISION: tl.constexpr,
    CLASS: tl.constexpr,  # noqa: ARG001
    ROOM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write dS[n, p, t] = sum over positions of dO[n, p] (K[p, :, t] . I[n] shifted by t), for small maps.

    A tile is (positions, output channels); an image has `ROOM` rows of it, a power of two and at least OH OW.
    """
    IMAGES: tl.constexpr = BLOCK_M // ROOM
    program, blocks = tl.program_id(0), tl.cdiv(CONV.c2, BLOCK_N)
    channel = program % blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    first = program // blocks * IMAGES
    image, position = first + tl.arange(0, BLOCK_M) // ROOM, tl.arange(0, BLOCK_M) % ROOM
    num_positions = out_height * out_width
    known = (image < num_images) & (position < num_positions)
    grads = _load(grad, image * num_positions + position, known, channel, CONV.c2).to(tl.float32)
    written = first + tl.arange(0, IMAGES)
    for tap in tl.range(0, CONV.taps, flatten=True):
        row, inside = _read_by(image, position, known, tap, height, width, out_width, CONV)
        product = _tap_product(x, weight, row, inside, tap, channel, CONV, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K)
        sums = tl.sum(tl.reshape(product * grads, (IMAGES, ROOM, BLOCK_N)), 1)
        _store(out, sums, written * CONV.taps + tap, written < num_images, channel, CONV.c2)
