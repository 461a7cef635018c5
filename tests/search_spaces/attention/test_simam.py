"""SimAM against its energy."""

import pytest
import torch
from torch import Tensor

from search_spaces.attention import create
from search_spaces.errors import InputError


def naive(x_CHW: Tensor, e_lambda: float) -> Tensor:
    """Eq. 5 for each value: e = 4 (v + lambda) / ((t - mean)^2 + 2 v + 2 lambda), weighed by sigmoid(1 / e)."""
    out = torch.empty_like(x_CHW)
    for c, channel in enumerate(x_CHW):
        values = channel.flatten().tolist()
        mean = sum(values) / len(values)
        v = sum((t - mean) ** 2 for t in values) / (len(values) - 1)
        energies = [4 * (v + e_lambda) / ((t - mean) ** 2 + 2 * v + 2 * e_lambda) for t in values]
        weighed = [t * torch.tensor(1 / e).sigmoid() for t, e in zip(values, energies, strict=True)]
        out[c] = torch.stack(weighed).view_as(channel)
    return out


@pytest.mark.parametrize("e_lambda", [1e-4, 0.1])
@pytest.mark.parametrize("size", [(3, 5), (1, 2)])
def test_simam_is_its_least_energy(e_lambda, size) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    module = create("simam", channels=3, e_lambda=e_lambda)
    torch.testing.assert_close(module(x), torch.stack([naive(image, e_lambda) for image in x]))


def test_a_single_position_stands_out_of_nothing() -> None:
    x = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(create("simam", channels=3)(x), x * torch.tensor(0.5).sigmoid())


def test_it_has_no_parameters() -> None:
    assert not list(create("simam", channels=3).parameters())


def test_it_trains_in_bfloat16_under_autocast() -> None:
    x = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        create("simam", channels=3)(x).float().sum().backward()
    assert x.grad.isfinite().all()


def test_a_lambda_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="knob 'e_lambda' of simam"):
        create("simam", channels=3, e_lambda=0.0)
