"""Weights per channel plus weights per position, against the product written out."""

import pytest
import torch

from search_spaces.attention.ops import pieces, two_sided_weights
from search_spaces.attention.ops.two_sided_weights import weigh_two_sided


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("num_elements", [10**6, 50])
@pytest.mark.parametrize("eager", [True, False])
def test_value_and_gradients_are_those_of_the_product(layout, num_elements, eager, monkeypatch) -> None:
    monkeypatch.setattr(pieces, "_NUM_ELEMENTS", num_elements)
    if not eager:
        monkeypatch.setattr(two_sided_weights, "is_eager_on_cpu", lambda _: False)
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3, 4, 2), (5, 3, 1, 1), (5, 1, 4, 2)]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    inputs[0] = inputs[0].to(memory_format=layout)
    x, channel, spatial = (tensor.requires_grad_() for tensor in inputs)
    got, expected = weigh_two_sided(x, channel, spatial), x * channel + x * spatial
    torch.testing.assert_close(got, expected)
    assert got.stride() == x.stride()
    given = torch.randn_like(expected)
    gradients = torch.autograd.grad(got, (x, channel, spatial), given)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (x, channel, spatial), given))


def test_the_answer_is_of_the_type_of_x() -> None:
    x = torch.ones(2, 3, 4, 4, dtype=torch.bfloat16)
    assert weigh_two_sided(x, torch.ones(2, 3, 1, 1), torch.ones(2, 1, 4, 4)).dtype == torch.bfloat16
