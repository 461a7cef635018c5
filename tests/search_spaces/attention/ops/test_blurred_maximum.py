"""Maxima after a Gaussian, against the definition written out."""

import math

import pytest
import torch
from torch import Tensor

from search_spaces.attention.ops import blurred_maximum, pieces
from search_spaces.attention.ops.blurred_maximum import blurred_maxima
from search_spaces.attention.ops.entropy import CHANNELS, POSITIONS

layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def draw(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def blurring(length: int, size: int, sigma: float) -> Tensor:
    """The filter as a matrix: row i weighs the positions around i that exist, with sum 1."""
    rows = [[math.exp(-((i - j) ** 2) / (2 * sigma**2)) * (abs(i - j) <= size // 2) for j in range(length)]
            for i in range(length)]  # fmt: skip
    return torch.tensor([[value / sum(row) for value in row] for row in rows], dtype=torch.float64)


def naive(x: Tensor, size: int, sigma: float) -> tuple[Tensor, Tensor]:
    along_height = torch.einsum("ih,bchw->bciw", blurring(x.shape[2], size, sigma), x)
    along_both = torch.einsum("jw,bciw->bcij", blurring(x.shape[3], size, sigma), along_height)
    return along_height.amax((2, 3), keepdim=True), along_both.amax(1, keepdim=True)


@layouts
@pytest.mark.parametrize(("size", "sigma"), [(1, 1.0), (3, 0.7), (5, 1.0), (9, 2.5)])
def test_positions_are_blurred_along_height_and_channels_along_both_axes(layout, size, sigma) -> None:
    x = draw(2, 3, 4, 5).to(memory_format=layout)
    expected = naive(x, size, sigma)
    torch.testing.assert_close(tuple(blurred_maxima(x, (POSITIONS, CHANNELS), size, sigma)), expected)
    torch.testing.assert_close(tuple(blurred_maxima(x, (CHANNELS, POSITIONS), size, sigma)), expected[::-1])
    torch.testing.assert_close(blurred_maxima(x, (CHANNELS,), size, sigma)[0], expected[1])


@layouts
def test_the_gradient_passes_gradcheck(layout) -> None:
    x = draw(2, 3, 3, 4).to(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: blurred_maxima(x, (POSITIONS, CHANNELS), 3, 1.0), x)


def test_the_gradient_is_that_of_the_definition_also_in_pieces(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "_NUM_ELEMENTS", 50)
    x = draw(5, 3, 3, 4).requires_grad_()
    maxima, expected = blurred_maxima(x, (POSITIONS, CHANNELS), 3, 1.0), naive(x, 3, 1.0)
    weights = [torch.randn_like(tensor) for tensor in maxima]
    torch.testing.assert_close(torch.autograd.grad(maxima, x, weights), torch.autograd.grad(expected, x, weights))


def test_equal_channels_share_the_gradient() -> None:
    x = torch.ones(1, 4, 1, 1, requires_grad=True)
    blurred_maxima(x, (CHANNELS,), 1, 1.0)[0].backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full((1, 4, 1, 1), 1 / 4))


def test_a_constant_map_and_a_single_position_stay_what_they_are() -> None:
    for shape in ((1, 2, 3, 3), (1, 2, 1, 1)):
        for maximum in blurred_maxima(torch.full(shape, -3.0), (POSITIONS, CHANNELS), 5, 1.0):
            torch.testing.assert_close(maximum, torch.full_like(maximum, -3.0))


def test_off_the_cpu_it_is_the_same(monkeypatch) -> None:
    x = draw(2, 3, 4, 5)
    expected = blurred_maxima(x, (POSITIONS, CHANNELS), 5, 1.0)
    monkeypatch.setattr(blurred_maximum, "is_eager_on_cpu", lambda _: False)
    torch.testing.assert_close(blurred_maxima(x, (POSITIONS, CHANNELS), 5, 1.0), expected)
