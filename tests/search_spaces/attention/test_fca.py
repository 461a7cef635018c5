"""Frequency channel attention against its cosines, torch's pooling, SE and its count."""

import copy
import math
import pickle
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention import create
from search_spaces.attention.fca import _selected
from search_spaces.errors import InputError

CHANNELS = 8
SIZES = [(1, 1), (4, 9), (7, 7), (8, 13), (14, 21)]


def build(size: tuple[int, int], channels: int = CHANNELS, **knobs) -> nn.Module:
    return create("fca", channels=channels, resolution=size, **{"num_frequencies": 4, "reduction": 2} | knobs)


def draw(size: tuple[int, int], channels: int = CHANNELS) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))


def cosine(frequency: int, side: int, position: int) -> float:
    """One value of the orthonormal DCT-II of `side` values, at a frequency counted on 7."""
    frequency *= side // 7
    scale = math.sqrt((2 if frequency else 1) / side)
    return scale * math.cos(math.pi * frequency * (position + 0.5) / side)


def naive(module: nn.Module, x_CHW: Tensor, frequencies: list[tuple[int, int]]) -> Tensor:
    """Pool the map to sides of multiples of 7, take each channel's coefficient, squeeze and excite."""
    sides = [7 * max(1, size // 7) for size in x_CHW.shape[1:]]
    pooled = functional.adaptive_avg_pool2d(x_CHW, sides)
    z_C = torch.zeros(len(x_CHW))
    for c, image in enumerate(pooled):
        u, v = frequencies[c * len(frequencies) // len(x_CHW)]
        z_C[c] = sum(image[i, j] * cosine(u, sides[0], i) * cosine(v, sides[1], j)
                     for i, j in product(*map(range, sides)))  # fmt: skip
    weights_C = (module.excite.weight @ (module.squeeze.weight @ z_C).clamp(min=0)).sigmoid()
    return x_CHW * weights_C[:, None, None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("selection", "first"),
    [
        ("top", [(0, 0), (0, 1), (6, 0), (0, 5)]),
        ("low", [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ("bottom", [(6, 6), (1, 4), (3, 4), (3, 6)]),
    ],
)
@torch.no_grad()
def test_fca_is_its_equations(size, selection, first, stir) -> None:
    module, x = stir(build(size, selection=selection)), draw(size)
    torch.testing.assert_close(module(x), torch.stack([naive(module, image, first) for image in x]))


@torch.no_grad()
def test_one_frequency_is_se_of_the_mean_times_the_side(stir) -> None:
    size = (14, 14)
    ours, se = stir(build(size, num_frequencies=1)), create("se", channels=CHANNELS, reduction=2, bias=False)
    se.load_state_dict(ours.state_dict())
    se.squeeze.weight.mul_(14)  # a sum of 14 * 14 values over sqrt(14) * sqrt(14)
    torch.testing.assert_close(ours(draw(size)), se(draw(size)))


@pytest.mark.parametrize("selection", ["top", "low", "bottom"])
def test_the_frequencies_are_32_of_the_grid_and_each_number_takes_the_first(selection) -> None:
    lists = [_selected(32, n, selection) for n in (1, 2, 4, 8, 16, 32)]
    assert len(set(lists[-1])) == 32
    assert set(lists[-1]) <= set(product(range(7), repeat=2))
    assert all(longer[: len(shorter)] == shorter for shorter, longer in pairwise(lists))


def test_the_lowest_frequencies_are_those_of_the_least_sums() -> None:
    sums = sorted(u + v for u, v in product(range(7), repeat=2))
    assert sorted(u + v for u, v in _selected(32, 32, "low")) == sums[:32]


@pytest.mark.parametrize("size", [(7, 7), (14, 28)])
def test_the_filters_of_different_frequencies_are_orthonormal(size) -> None:
    filters = build(size, channels=32, num_frequencies=32).filters.flatten(2)[0]
    torch.testing.assert_close(filters @ filters.T, torch.eye(32), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_map_of_another_size_than_the_configured_one_is_pooled_to_it(stir) -> None:
    module, x = stir(build((7, 7))), draw((9, 20))
    frequencies = [(0, 0), (0, 1), (6, 0), (0, 5)]
    pooled = functional.adaptive_avg_pool2d(x, (7, 7))
    weights = torch.stack([naive(module, image, frequencies) for image in pooled]) / pooled
    torch.testing.assert_close(module(x), x * weights[:, :, :1, :1])


def test_fcanet_50_has_the_count_of_se_without_biases() -> None:
    """Table 2 of BA-Net prints 28.07M; ResNet-50 has 25,557,032."""
    added = 0
    for channels, side, blocks in ((256, 56, 3), (512, 28, 4), (1024, 14, 6), (2048, 7, 3)):
        with torch.device("meta"):
            module = create("fca", channels=channels, resolution=(side, side))
        assert module.filters.shape == (1, channels, side, side)
        added += blocks * sum(p.numel() for p in module.parameters())
    assert 25_557_032 + added == 28_071_976


def test_the_filters_are_rebuilt_not_saved_and_survive_copies() -> None:
    module = build((7, 7))
    assert set(module.state_dict()) == {"squeeze.weight", "excite.weight"}
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), build((7, 7))):
        assert torch.equal(other.filters, module.filters)


def test_channels_that_are_no_multiple_of_the_frequencies_are_refused() -> None:
    with pytest.raises(
        InputError, match="num_frequencies 16 does not divide the 24 channels; allowed here: 1, 2, 4, 8"
    ):
        create("fca", channels=24, resolution=(7, 7))
