"""The convolution of one channel, against torch's."""

import pytest
import torch
from torch.nn import functional

from search_spaces.attention.ops.single_channel import convolve_single_channel


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("batch", [1, 4])
def test_value_and_gradients_are_those_of_the_convolution(size, batch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 1, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(1, 1, size, size, generator=generator, dtype=torch.float64).requires_grad_()
    got, expected = convolve_single_channel(x, weight), functional.conv2d(x, weight, padding=size // 2)
    torch.testing.assert_close(got, expected)
    given = torch.randn_like(expected)
    gradients = torch.autograd.grad(got, (x, weight), given)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (x, weight), given))


def test_under_autocast_it_stays_in_float32() -> None:
    x, weight = torch.randn(2, 1, 5, 5), torch.randn(1, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(convolve_single_channel(x, weight), functional.conv2d(x, weight, padding=1).float(),
                                   rtol=0.05, atol=0.05)  # fmt: skip
        assert convolve_single_channel(x, weight).dtype == torch.float32
