"""Frequency channel attention.

Qin et al., 2021, FcaNet: Frequency Channel Attention Networks, arXiv:2012.11879, section 3; released code:
github.com/cfzd/FcaNet, model/layer.py.
"""

import math
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.layers import Reduction, hidden_width, scale_channels
from search_spaces.attention.registry import register
from search_spaces.errors import InputError

Selection = Literal["top", "low", "bottom"]
NumFrequencies = Literal[1, 2, 4, 8, 16, 32]
Frequency = tuple[int, int]

GRID = 7
"""The frequencies are those of a DCT of GRID x GRID."""

# The code's get_freq_indices, in its order: row and column of each, best first for `top`, lowest first for `low`,
# worst first for `bottom`.
_FREQUENCIES = {
    "top": "00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22 46 63 33 53 55 21 61 52 54 32 31 41 23 20 65 13",
    "low": "00 01 10 11 02 20 21 12 22 03 30 40 04 13 31 05 14 23 32 41 50 06 15 24 33 42 51 60 16 25 34 43",
    "bottom": "66 14 34 36 26 43 11 24 44 45 56 15 42 62 25 51 64 13 65 20 23 41 31 32 54 52 61 21 55 53 33 63",
}


@register("fca", kind="gate", paper="Qin et al., 2021, arXiv:2012.11879")
class FCA(nn.Module):
    """Frequency channel attention: squeeze-and-excitation of DCT coefficients, not of means.

    x' = x sigmoid(W2 ReLU(W1 z)), W1: C -> C // r, W2: C // r -> C, without biases (eq. 10). The channels are n
    groups, one after the other; z_c = sum_ij b_u(i) b_v(j) x_c(i, j), with the frequency (u, v) of c's group
    (eq. 8, 9), b_0(i) = 1 / sqrt(S), b_u(i) = sqrt(2 / S) cos(pi u k (i + 1/2) / S) (the released code's scaling).

    The frequencies are those of a 7 x 7 DCT; `selection` and `num_frequencies` n say which: `top` the best when
    used alone (the paper measured each on ImageNet), `low` the lowest, `bottom` the worst. The sides are S = 7 k,
    k = max(1, H // 7), for the host's configured input: 56, 28, 14 and 7 on ImageNet, as released. A map of
    another size than S x S is first average-pooled to it (adaptively, as in the code, also upwards where H < 7);
    the sums above have that built in. At run time a map of another size than the configured one is average-pooled
    to that one before.

    The filters are no parameters, so that the counts are those of `se` without biases (FcaNet-50: 28,071,976), and
    are not saved. Their products are no counted multiply-accumulates, like SE's pooling.
    """

    filters: Tensor

    def __init__(
        self,
        channels: int,
        resolution: tuple[int, int],
        *,
        reduction: Reduction = 16,
        num_frequencies: Annotated[
            NumFrequencies, Field(description="groups of channels, each squeezed at its own frequency")
        ] = 16,
        selection: Annotated[
            Selection, Field(description="the best frequencies (top), the lowest (low) or the worst (bottom)")
        ] = "top",
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        height, width = resolution
        self.resolution = (height, width)
        # (1, C, H, W), not (C, H, W): so the filters follow the network into channels_last.
        filters = _filters(_selected(channels, num_frequencies, selection), channels, height, width)
        self.register_buffer("filters", filters, persistent=False)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x with its channels weighed, (B, C, H, W)."""
        sized = tuple(x_BCHW.shape[-2:]) == self.resolution
        pooled_BCHW = x_BCHW if sized else functional.adaptive_avg_pool2d(x_BCHW, self.resolution)
        # In x's type: under autocast a float32 product would be as large again as x.
        squeezed_BC = (pooled_BCHW * self.filters.to(x_BCHW.dtype)).sum((2, 3))
        return scale_channels(x_BCHW, self.excite(functional.relu(self.squeeze(squeezed_BC))).sigmoid())

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, resolution: tuple[int, int], **_: object) -> dict[str, Any]:
        """Describe what is built: which channels are squeezed by which filter."""
        selected = _selected(channels, knobs["num_frequencies"], knobs["selection"])
        same = _same_filters(*resolution)
        runs = groupby(same.get(frequency, frequency) for frequency in selected)
        share = channels // len(selected)
        return {
            "hidden": hidden_width(channels, knobs["reduction"]),
            "filters": tuple((frequency, share * len(list(run))) for frequency, run in runs),
        }


def _selected(channels: int, num_frequencies: int, selection: str) -> list[Frequency]:
    """Return the frequency (u, v) of each group of channels."""
    if channels % num_frequencies:
        allowed = [n for n in (1, 2, 4, 8, 16, 32) if channels % n == 0]
        raise InputError(
            f"num_frequencies {num_frequencies} does not divide the {channels} channels; "
            f"allowed here: {', '.join(map(str, allowed))}"
        )
    return [(int(digits[0]), int(digits[1])) for digits in _FREQUENCIES[selection].split()[:num_frequencies]]


def _filters(selected: list[Frequency], channels: int, height: int, width: int) -> Tensor:
    """Return every channel's filter, (1, C, H, W)."""
    rows_NH = torch.tensor([_basis(u, height) for u, _ in selected])
    columns_NW = torch.tensor([_basis(v, width) for _, v in selected])
    filters_NHW = rows_NH[:, :, None] * columns_NW[:, None]
    return filters_NHW.repeat_interleave(channels // len(selected), 0)[None]


@lru_cache
def _basis(frequency: int, size: int) -> tuple[float, ...]:
    """Return b_u of S values, S = 7 max(1, size // 7), after the pooling of `size` values to S: `size` weights."""
    times = max(1, size // GRID)
    side = GRID * times
    weights = [0.0] * size
    for i in range(side):
        value = math.cos(math.pi * frequency * times * (i + 0.5) / side) * math.sqrt((2 if frequency else 1) / side)
        # Adaptive pooling: output i is the mean of the inputs from i * size / side on, up to the next one's.
        first, end = i * size // side, -(-(i + 1) * size // side)
        for position in range(first, end):
            weights[position] += value / (end - first)
    return tuple(weights)


@lru_cache
def _same_filters(height: int, width: int) -> dict[Frequency, Frequency]:
    """Return, for each frequency, the first with the same filter on a map of this size.

    Only maps below the grid have several: there 7 positions are pooled from fewer values.
    """
    if min(height, width) >= GRID:
        return {}
    first: dict[tuple[float, ...], Frequency] = {}
    same = {}
    for u in range(GRID):
        for v in range(GRID):
            filter_ = tuple(round(a * b, 9) + 0.0 for a in _basis(u, height) for b in _basis(v, width))
            same[u, v] = first.setdefault(filter_, (u, v))
    return same
