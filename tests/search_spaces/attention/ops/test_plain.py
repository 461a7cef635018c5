"""The plain expressions compute what the fast ones do, values and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.attention.ops import (
    aw_forms,
    blurred_maximum,
    entropy,
    fused,
    plain,
    single_channel,
    two_sided_weights,
)

SIDES = (plain.POSITIONS, plain.CHANNELS)
MAP, OTHER, CHANNELS, POSITIONS = (3, 8, 6, 5), (3, 8, 6, 5), (3, 8), (3, 1, 6, 5)


def flat(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [tensor for each in found for tensor in flat(each)]


CASES: dict[str, tuple[Callable[[Any], Callable[..., Any]], list[tuple[int, ...]]]] = {
    "average": (lambda of: of[fused].average, [MAP]),
    "average_and_maximum": (lambda of: of[fused].average_and_maximum, [MAP]),
    "maximum_and_average_of_channels": (lambda of: of[fused].maximum_and_average_of_channels, [MAP]),
    "scale_positions": (lambda of: of[fused].scale_positions, [MAP, POSITIONS]),
    "add_to_channels": (lambda of: of[fused].add_to_channels, [MAP, CHANNELS]),
    "join": (lambda of: lambda c, p, x: of[fused].join(torch.mul, c, p, x), [CHANNELS, POSITIONS, MAP]),
    "add_share": (lambda of: of[fused].add_share, [MAP, OTHER]),
    "select": (lambda of: of[fused].select, [MAP, OTHER, OTHER]),
    "entropy": (lambda of: lambda x: of[entropy].entropy(x, *SIDES), [MAP]),
    "mean_and_entropy": (lambda of: lambda x: of[entropy].mean_and_entropy(x, SIDES), [MAP]),
    "blurred_maxima": (lambda of: lambda x: of[blurred_maximum].blurred_maxima(x, SIDES, 5, 1.0), [MAP]),
    "convolve_single_channel": (lambda of: of[single_channel].convolve_single_channel, [POSITIONS, (1, 1, 3, 3)]),
    "weigh_two_sided": (lambda of: of[two_sided_weights].weigh_two_sided, [MAP, (3, 8, 1, 1), POSITIONS]),
    "pool": (lambda of: lambda x: of[aw_forms].pool(x, (3, 3)), [MAP]),
}


class Fast(dict[Any, Any]):
    """Gives each module for itself."""

    def __missing__(self, module: Any) -> Any:
        return module


class Plain(dict[Any, Any]):
    """Gives the plain module for each."""

    def __missing__(self, module: Any) -> Any:
        return plain


@pytest.mark.parametrize("last", [False, True], ids=["default layout", "channels_last"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_fast_expression(name: str, last: bool) -> None:
    choose, shapes = CASES[name]
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in shapes]
    if last:
        given = [x.to(memory_format=torch.channels_last) if x.ndim == 4 else x for x in given]
    results = []
    for which in (Fast(), Plain()):
        inputs = [x.clone().requires_grad_() for x in given]
        answers = flat(choose(which)(*inputs))
        sum(answer.square().sum() for answer in answers).backward()  # type: ignore[union-attr]
        results.append([*answers, *(x.grad for x in inputs if x.grad is not None)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("num_blocks", [1, 2])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_a_convolution_with_weights_of_its_own_for_each_image_is_one_by_one(
    groups: int, num_blocks: int, stride: int, dilation: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(3, 8, 7, 6, generator=generator), torch.randn(4, 8 // groups, 3, 3, generator=generator)
    scale = torch.rand(3, 4, num_blocks, 3, 3, generator=generator)
    geometry = plain.Geometry((stride, stride), (dilation, dilation), (dilation, dilation), groups)
    per_image = scale.repeat_interleave(weight.shape[1] // num_blocks, 2) * weight
    settings = (None, stride, dilation, dilation, groups)
    expected = [torch.conv2d(x[n : n + 1], per_image[n], *settings) for n in range(len(x))]
    torch.testing.assert_close(plain.convolve(x, weight, scale, geometry), torch.cat(expected), rtol=1e-4, atol=1e-5)
