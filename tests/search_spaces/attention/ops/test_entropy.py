"""Means and entropies over positions and channels, against the definition written out."""

import math

import pytest
import torch
from torch import Tensor

from search_spaces.attention.ops import pieces as cutting
from search_spaces.attention.ops.entropy import CHANNELS, POSITIONS, entropy, mean_and_entropy

BOTH = (POSITIONS, CHANNELS)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def draw(*size: int, scale: float = 1.0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale


def entropy_of(values: list[float]) -> float:
    """-sum p log p with p = softmax of the values, 0 log 0 = 0."""
    weights = [math.exp(value - max(values)) for value in values]
    shares = [weight / sum(weights) for weight in weights]
    return -sum(share * math.log(share) for share in shares if share > 0)


def flat(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
    return tuple(tensor for pair in pairs for tensor in pair)


@layouts
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_each_map_and_each_position_has_the_mean_and_entropy_of_its_values(layout, scale) -> None:
    x = draw(2, 3, 2, 4, scale=scale).to(memory_format=layout)
    mean_BC11, entropy_BC11, mean_B1HW, entropy_B1HW = flat(mean_and_entropy(x, BOTH))
    assert entropy_BC11.shape == (2, 3, 1, 1)
    assert entropy_B1HW.shape == (2, 1, 2, 4)
    for b in range(2):
        for c in range(3):
            values = x[b, c].flatten().tolist()
            assert entropy_BC11[b, c].item() == pytest.approx(entropy_of(values), abs=1e-12)
            assert mean_BC11[b, c].item() == pytest.approx(sum(values) / 8, rel=1e-12)
        for h in range(2):
            for w in range(4):
                values = x[b, :, h, w].tolist()
                assert entropy_B1HW[b, 0, h, w].item() == pytest.approx(entropy_of(values), abs=1e-12)
                assert mean_B1HW[b, 0, h, w].item() == pytest.approx(sum(values) / 3, rel=1e-12)


@layouts
@pytest.mark.parametrize("sides", [BOTH, (CHANNELS, POSITIONS), (POSITIONS,), (CHANNELS,)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_gradient_is_that_of_the_plain_definition(layout, sides, scale) -> None:
    x = draw(3, 4, 3, 2, scale=scale).to(memory_format=layout).requires_grad_()
    pooled = flat(mean_and_entropy(x, sides))
    plain = [f for side in sides for f in (x.mean(side, keepdim=True), entropy(x, side, side))]
    weights = [torch.randn_like(tensor) for tensor in pooled]
    (got,) = torch.autograd.grad(pooled, x, weights)
    (expected,) = torch.autograd.grad(plain, x, weights)
    torch.testing.assert_close(pooled, tuple(plain))
    torch.testing.assert_close(got, expected)
    assert got.stride() == x.stride()


def test_the_gradient_passes_gradcheck() -> None:
    for scale in (1.0, 30.0):
        x = draw(2, 3, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, scale=scale: flat(mean_and_entropy(x * scale, BOTH)), x)


def test_where_one_output_is_used_the_others_add_nothing_to_the_gradient() -> None:
    x = draw(2, 3, 2, 3).requires_grad_()
    (_, entropies), _ = mean_and_entropy(x, BOTH)
    (got,) = torch.autograd.grad(entropies.sum(), x)
    (expected,) = torch.autograd.grad(entropy(x, POSITIONS, POSITIONS).sum(), x)
    torch.testing.assert_close(got, expected)


def test_equal_values_have_log_n_and_one_far_above_has_0() -> None:
    x = torch.full((1, 2, 3, 4), 7.0)
    _, entropy_BC11, _, entropy_B1HW = flat(mean_and_entropy(x, BOTH))
    torch.testing.assert_close(entropy_BC11, torch.full((1, 2, 1, 1), math.log(12)))
    torch.testing.assert_close(entropy_B1HW, torch.full((1, 1, 3, 4), math.log(2)))
    x[:, :, 1, 1] = 1e6
    torch.testing.assert_close(mean_and_entropy(x, (POSITIONS,))[0][1], torch.zeros(1, 2, 1, 1))


def test_a_map_far_below_the_others_keeps_its_entropy() -> None:
    x = draw(2, 3, 4, 4).float()
    low = x.clone()
    low[:, 1] -= 500
    (_, expected), (_, got) = mean_and_entropy(x, (POSITIONS,)) + mean_and_entropy(low, (POSITIONS,))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_are_computed_in_float32(dtype) -> None:
    x = draw(2, 3, 4, 4).to(dtype).requires_grad_()
    got = flat(mean_and_entropy(x, BOTH))
    expected = flat(mean_and_entropy(x.detach().float(), BOTH))
    for tensor, other in zip(got, expected, strict=True):
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, other, rtol=0, atol=0)
    torch.stack([tensor.sum() for tensor in got]).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


@layouts
def test_cut_into_pieces_it_gives_the_same(layout, monkeypatch) -> None:
    x = draw(5, 3, 4, 2).to(memory_format=layout).requires_grad_()
    results = []
    for num_elements in (10**6, 50, 1):
        monkeypatch.setattr(cutting, "_NUM_ELEMENTS", num_elements)
        pooled = flat(mean_and_entropy(x, BOTH))
        results.append((*pooled, *torch.autograd.grad([p.square().sum() for p in pooled], x)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_an_image_has_the_same_entropies_alone_and_beside_any_other() -> None:
    x = draw(1, 3, 4, 4).float()
    alone = flat(mean_and_entropy(x, BOTH))
    for other in (x + 1, x - 1000):
        beside = [tensor[:1] for tensor in flat(mean_and_entropy(torch.cat((x, other)), BOTH))]
        torch.testing.assert_close(tuple(beside), alone)


def test_a_softmax_over_the_other_axes_is_summed_over_these() -> None:
    x = draw(2, 3, 2, 4)
    p = x.exp() / x.exp().sum(1, keepdim=True)
    torch.testing.assert_close(entropy(x, CHANNELS, POSITIONS), -(p * p.log()).sum((2, 3), keepdim=True))


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    x = draw(2, 3, 2, 4).requires_grad_()
    _, entropies = mean_and_entropy(x, (POSITIONS,))[0]
    (gradient,) = torch.autograd.grad(entropies.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_compiled_and_exported_it_is_the_same() -> None:
    class Pool(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return flat(mean_and_entropy(x, BOTH))

    x = draw(2, 3, 2, 4)
    expected = Pool()(x)
    torch.testing.assert_close(torch.compile(Pool(), fullgraph=True, backend="aot_eager")(x), expected)
    torch.testing.assert_close(torch.export.export(Pool(), (x,)).module()(x), expected)


def test_on_the_meta_device_only_shapes_are_computed() -> None:
    pooled = flat(mean_and_entropy(torch.empty(2, 3, 4, 5, device="meta"), BOTH))
    assert [tuple(tensor.shape) for tensor in pooled] == [(2, 3, 1, 1)] * 2 + [(2, 1, 4, 5)] * 2
