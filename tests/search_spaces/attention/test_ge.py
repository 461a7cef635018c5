"""Gather-excite against its equations, torch's own convolutions, timm and its sizes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention import create
from search_spaces.errors import InputError

CHANNELS = 6
SIZE = (5, 7)
EXTENTS = ["global", 2, 4, 8]


def build(stir, size: tuple[int, int] = SIZE, **knobs) -> nn.Module:
    return stir(create("ge", channels=CHANNELS, resolution=size, reduction=2, **knobs)).eval()


def draw(size: tuple[int, int] = SIZE, batch: int = 2) -> Tensor:
    return torch.randn(batch, CHANNELS, *size, generator=torch.Generator().manual_seed(0))


def normed(layer: nn.Module, x_CHW: Tensor) -> Tensor:
    """Batch normalisation in eval mode."""
    scale = layer.weight / (layer.running_var + 1e-5).sqrt()
    return (x_CHW - layer.running_mean[:, None, None]) * scale[:, None, None] + layer.bias[:, None, None]


def windows(x_CHW: Tensor, step: int, reach: int, value: Callable[[Tensor, int, int, int], Tensor]) -> Tensor:
    """value(seen, c, i, j) at every step-th position (i, j), of what lies on the map within `reach`."""
    out = torch.zeros(len(x_CHW), *(math.ceil(size / step) for size in x_CHW.shape[1:]))
    for c, i, j in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        top, left = max(i * step - reach, 0), max(j * step - reach, 0)
        out[c, i, j] = value(x_CHW[c, top : i * step + reach + 1, left : j * step + reach + 1], c, i, j)
    return out


def convolved(conv: nn.Conv2d, x_CHW: Tensor) -> Tensor:
    """A depthwise 3x3 convolution of stride 2, padded by 1."""

    def value(seen: Tensor, c: int, i: int, j: int) -> Tensor:
        # What lies beyond the map counts 0: the kernel loses its first row and column there.
        return (conv.weight[c, 0, i == 0 :, j == 0 :][: seen.shape[0], : seen.shape[1]] * seen).sum()

    return windows(x_CHW, 2, 1, value)


def gathered(module: nn.Module, x_CHW: Tensor, extent: int | str) -> Tensor:
    if module.gather is None:
        if extent == "global":
            return x_CHW.flatten(1).mean(1)[:, None, None]
        return windows(x_CHW, extent, extent - 1, lambda seen, *_: seen.mean())
    if extent == "global":
        sums = torch.stack([(x * w).sum() for x, w in zip(x_CHW, module.gather[0].weight[0], strict=True)])
        return normed(module.gather[1], sums[:, None, None])
    for place, layer in enumerate(module.gather):
        x_CHW = (convolved, normed, lambda _, x: x.clamp(min=0))[place % 3](layer, x_CHW)
    return x_CHW


def naive(module: nn.Module, x_CHW: Tensor, extent: int | str) -> Tensor:
    small = gathered(module, x_CHW, extent)
    if isinstance(module.excite, nn.Sequential):
        _, down, _, up = module.excite
        hidden = torch.einsum("rc,chw->rhw", down.weight.flatten(1), small.clamp(min=0)) + down.bias[:, None, None]
        small = torch.einsum("cr,rhw->chw", up.weight.flatten(1), hidden.clamp(min=0)) + up.bias[:, None, None]
    out = torch.empty_like(x_CHW)
    (height, width), (rows, columns) = x_CHW.shape[1:], small.shape[1:]
    for i in range(height):
        for j in range(width):
            logits_C = small[:, i * rows // height, j * columns // width]
            out[:, i, j] = x_CHW[:, i, j] / (1 + (-logits_C).exp())
    return out


@pytest.mark.parametrize("variant", ["theta_minus", "theta", "theta_plus"])
@pytest.mark.parametrize("extent", EXTENTS)
@torch.no_grad()
def test_ge_is_its_equations(variant, extent, stir) -> None:
    module, x = build(stir, variant=variant, extent=extent), draw()
    torch.testing.assert_close(module(x), torch.stack([naive(module, image, extent) for image in x]))


@torch.no_grad()
def test_the_whole_map_is_gathered_as_by_a_depthwise_convolution(stir) -> None:
    module, x = build(stir, variant="theta"), draw()
    kernel_C1HW = module.gather[0].weight.transpose(0, 1)
    torch.testing.assert_close(module.gather[0](x), functional.conv2d(x, kernel_C1HW, groups=CHANNELS))


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 8)])
@torch.no_grad()
def test_theta_minus_is_timms(extent, size, stir) -> None:
    layers = pytest.importorskip("timm.layers")
    theirs = layers.GatherExcite(CHANNELS, extent=0 if extent == "global" else extent, use_mlp=False)
    ours = build(stir, size, variant="theta_minus", extent=extent)
    torch.testing.assert_close(ours(draw(size)), theirs(draw(size)))


@torch.no_grad()
def test_the_mean_excited_by_theta_plus_s_two_layers_is_timms_excitation(stir) -> None:
    layers = pytest.importorskip("timm.layers")
    theirs, ours = layers.SqueezeExcite(CHANNELS, rd_channels=3), build(stir)
    theirs.fc1.load_state_dict(ours.excite[1].state_dict())
    theirs.fc2.load_state_dict(ours.excite[3].state_dict())
    # A gather that is the mean, of a map without negative values for the ReLU behind it.
    ours.gather[0].weight.fill_(1 / (SIZE[0] * SIZE[1]))
    ours.gather[1] = nn.Identity()
    torch.testing.assert_close(ours(draw().abs()), theirs(draw().abs()))


@pytest.mark.parametrize(
    ("variant", "extent", "expected"),
    [
        ("theta_minus", 8, 0),
        ("theta", "global", CHANNELS * 5 * 7 + 2 * CHANNELS),
        ("theta", 8, 3 * (9 * CHANNELS + 2 * CHANNELS)),
        ("theta_plus", 2, 9 * CHANNELS + 2 * CHANNELS + CHANNELS * 3 + 3 + 3 * CHANNELS + CHANNELS),
    ],
)
def test_its_parameters_are_the_gathering_s_and_the_exciting_s(variant, extent, expected, stir) -> None:
    assert sum(p.numel() for p in build(stir, variant=variant, extent=extent).parameters()) == expected


def test_at_first_the_gathered_values_have_the_released_deviation() -> None:
    weight = create("ge", channels=64, resolution=(8, 8), reduction=1).gather[0].weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)


@pytest.mark.parametrize("variant", ["theta", "theta_plus"])
def test_a_map_of_another_size_is_refused_where_each_position_has_a_weight(variant, stir) -> None:
    with pytest.raises(InputError, match="was built for 5x7 maps and got 7x5"):
        build(stir, variant=variant)(draw((7, 5)))


@pytest.mark.parametrize("extent", [2, 4, 8])
def test_a_map_of_another_size_is_fine_otherwise(extent, stir) -> None:
    for knobs in ({"variant": "theta_plus", "extent": extent}, {"variant": "theta_minus"}):
        assert build(stir, **knobs)(draw((7, 5))).shape == draw((7, 5)).shape


def test_a_reduction_above_the_channels_matters_to_theta_plus_alone() -> None:
    for variant in ("theta_minus", "theta"):
        create("ge", channels=4, resolution=SIZE, reduction=16, variant=variant)
    with pytest.raises(InputError, match="reduction 16 is above the 4 channels"):
        create("ge", channels=4, resolution=SIZE)
