"""The global context block against its equations, timm and its start."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces.attention import create

CHANNELS, HIDDEN = 12, 4


def build(stir, **knobs) -> nn.Module:
    return stir(create("gc", channels=CHANNELS, reduction=CHANNELS // HIDDEN, **knobs))


def draw(height: int = 3, width: int = 5) -> Tensor:
    return torch.randn(2, CHANNELS, height, width, generator=torch.Generator().manual_seed(0))


def transform(layers: nn.Sequential, z_C: Tensor) -> Tensor:
    """W2 ReLU(LN(W1 z))."""
    hidden = layers[0].weight @ z_C + layers[0].bias
    deviation = ((hidden - hidden.mean()) ** 2).mean()
    hidden = (hidden - hidden.mean()) / (deviation + 1e-5).sqrt() * layers[1].weight + layers[1].bias
    return layers[3].weight @ hidden.clamp(min=0) + layers[3].bias


def naive(module: nn.Module, x_CHW: Tensor) -> Tensor:
    positions = [x_CHW[:, i, j] for i in range(x_CHW.shape[1]) for j in range(x_CHW.shape[2])]
    shares = [1.0 for _ in positions]
    if module.mask is not None:
        shares = [(module.mask.weight[0] @ x + module.mask.bias[0]).exp() for x in positions]
    z_C = sum(share * x for share, x in zip(shares, positions, strict=True)) / sum(shares)
    if module.scale is not None:
        x_CHW = x_CHW / (1 + (-transform(module.scale, z_C)).exp())[:, None, None]
    return x_CHW if module.add is None else x_CHW + transform(module.add, z_C)[:, None, None]


@pytest.mark.parametrize("pooling", ["attention", "average"])
@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
@torch.no_grad()
def test_gc_is_its_equations(pooling, fusion, stir) -> None:
    module, x = build(stir, pooling=pooling, fusion=fusion), draw()
    torch.testing.assert_close(module(x), torch.stack([naive(module, image) for image in x]))


@pytest.mark.parametrize("pooling", ["attention", "average"])
@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
@torch.no_grad()
def test_gc_is_timms(pooling, fusion, stir) -> None:
    layers = pytest.importorskip("timm.layers")
    ours, x = build(stir, pooling=pooling, fusion=fusion), draw()
    theirs = layers.GlobalContext(
        CHANNELS,
        use_attn=pooling == "attention",
        fuse_add=fusion != "scale",
        fuse_scale=fusion != "add",
        rd_channels=HIDDEN,
    )
    pairs = [(ours.mask, theirs.conv_attn)]
    for mine, mlp in ((ours.add, theirs.mlp_add), (ours.scale, theirs.mlp_scale)):
        if mine is not None:
            mlp.norm.eps = 1e-5  # timm's norm has 1e-6, the released one torch's default
            pairs += [(mine[0], mlp.fc1), (mine[1], mlp.norm), (mine[3], mlp.fc2)]
    for layer, other in pairs:
        if layer is not None:
            other.weight.copy_(layer.weight.view_as(other.weight))
            other.bias.copy_(layer.bias)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("fusion", "factor"), [("add", 1.0), ("scale", 0.5), ("both", 0.5)])
def test_at_first_an_added_context_is_nothing_and_a_weighing_one_a_half(fusion, factor) -> None:
    module, x = create("gc", channels=CHANNELS, reduction=3, fusion=fusion), draw()
    torch.testing.assert_close(module(x), factor * x)


@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
def test_from_init_identity_every_weight_can_be_reached(fusion) -> None:
    module, x = create("gc", channels=CHANNELS, reduction=3, fusion=fusion, init="identity"), draw()
    assert torch.equal(module(x), x)
    module(x).square().sum().backward()
    assert module.alpha.grad.abs() > 0
    with torch.no_grad():
        module.alpha.fill_(0.1)
    module(x).square().sum().backward()
    last = [layers[3].weight.grad for layers in (module.add, module.scale) if layers is not None]
    assert all(gradient.abs().max() > 0 for gradient in last)


@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
@torch.no_grad()
def test_alpha_draws_between_the_identity_and_the_module(fusion, stir) -> None:
    paper, module, x = build(stir, fusion=fusion), build(stir, fusion=fusion, init="identity"), draw()
    module.load_state_dict({**paper.state_dict(), "alpha": torch.tensor(0.25)})
    torch.testing.assert_close(module(x), x + 0.25 * (paper(x) - x))


def test_its_parameters_are_counted_by_layer(stir) -> None:
    transforms = CHANNELS * HIDDEN + HIDDEN + 2 * HIDDEN + HIDDEN * CHANNELS + CHANNELS
    expected = {("attention", "add"): CHANNELS + 1 + transforms, ("average", "both"): 2 * transforms}
    for (pooling, fusion), count in expected.items():
        module = build(stir, pooling=pooling, fusion=fusion)
        assert sum(p.numel() for p in module.parameters()) == count
