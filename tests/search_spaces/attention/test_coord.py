"""Coordinate attention against its equations, timm and its widths."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces.attention import create
from search_spaces.errors import InputError

CHANNELS = 12
SIZES = [(1, 1), (3, 5), (4, 1)]


def draw(size: tuple[int, int]) -> Tensor:
    return torch.randn(3, CHANNELS, *size, generator=torch.Generator().manual_seed(0))


def logistic(z: Tensor) -> Tensor:
    return 1 / (1 + (-z).exp())


def hidden(module: nn.Module, mean_C: Tensor) -> Tensor:
    """F_1, BN and h_swish at one position."""
    v = module.squeeze.weight @ mean_C + module.squeeze.bias
    scale = module.norm.weight / (module.norm.running_var + 1e-5).sqrt()
    v = (v - module.norm.running_mean) * scale + module.norm.bias
    return v * (v + 3).clamp(0, 6) / 6


def naive(module: nn.Module, x_CHW: Tensor) -> Tensor:
    out = torch.empty_like(x_CHW)
    for i in range(x_CHW.shape[1]):
        for j in range(x_CHW.shape[2]):
            row = logistic(module.rows.weight @ hidden(module, x_CHW[:, i].mean(1)) + module.rows.bias)
            column = logistic(module.columns.weight @ hidden(module, x_CHW[:, :, j].mean(1)) + module.columns.bias)
            out[:, i, j] = x_CHW[:, i, j] * row * column
    return out


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_coord_is_its_equations(size, stir) -> None:
    module, x = stir(create("coord", channels=CHANNELS)).eval(), draw(size)
    torch.testing.assert_close(module(x), torch.stack([naive(module, image) for image in x]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("training", [True, False])
def test_coord_is_timms_with_its_gradients(size, training, stir) -> None:
    layers = pytest.importorskip("timm.layers.coord_attn")
    ours = stir(create("coord", channels=CHANNELS, min_hidden=5)).train(training)
    theirs = layers.CoordAttn(CHANNELS, rd_channels=5, bias=True).train(training)
    pairs = [(ours.squeeze, theirs.conv1), (ours.norm, theirs.bn1), (ours.rows, theirs.conv_h),
             (ours.columns, theirs.conv_w)]  # fmt: skip
    for layer, other in pairs:
        shapes = other.state_dict()
        other.load_state_dict({key: value.view_as(shapes[key]) for key, value in layer.state_dict().items()})
    inputs = [draw(size).requires_grad_() for _ in range(2)]
    outputs = [module(x) for module, x in zip((ours, theirs), inputs, strict=True)]
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for layer, other in pairs:
        torch.testing.assert_close(layer.weight.grad, other.weight.grad.view_as(layer.weight), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("channels", "knobs", "width"),
    [(64, {}, 8), (512, {}, 512 // 32), (4, {}, 8), (64, {"reduction": 16, "min_hidden": 1}, 4)],
)
def test_the_hidden_width_is_at_least_the_least(channels, knobs, width) -> None:
    module = create("coord", channels=channels, **knobs)
    convolutions = channels * width + width + 2 * (width * channels + channels)
    assert module.squeeze.out_features == width
    assert sum(p.numel() for p in module.parameters()) == convolutions + 2 * width


def test_without_a_least_width_a_reduction_above_the_channels_is_refused() -> None:
    with pytest.raises(InputError, match="reduction 32 is above the 16 channels"):
        create("coord", channels=16, min_hidden=1)
