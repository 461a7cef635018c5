"""Selective kernel against its equations, its printed size and what it is given."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.attention import ConvGeometry, create, effective
from search_spaces.errors import InputError


def convolve(conv: nn.Conv2d, x_CHW: Tensor, times: int, like: nn.Conv2d) -> Tensor:
    """The taps of `conv` spread `times` as far around the middle of where those of `like` lie, one by one."""
    (rows, columns), (height, width) = like.dilation, conv.kernel_size
    size = like(x_CHW[None]).shape[2:]
    group = conv.out_channels // conv.groups
    out = torch.zeros(conv.out_channels, *size)
    if conv.bias is not None:
        out += conv.bias.detach()[:, None, None]
    for o, i, j, a, b in product(range(conv.out_channels), *map(range, (*size, height, width))):
        middle = (i * like.stride[0] - like.padding[0] + rows * (height - 1) // 2,
                  j * like.stride[1] - like.padding[1] + columns * (width - 1) // 2)  # fmt: skip
        p = middle[0] + times * rows * (2 * a - height + 1) // 2
        q = middle[1] + times * columns * (2 * b - width + 1) // 2
        if 0 <= p < x_CHW.shape[1] and 0 <= q < x_CHW.shape[2]:
            first = o // group * conv.weight.shape[1]
            seen = x_CHW[first : first + conv.weight.shape[1], p, q]
            out[o, i, j] += (conv.weight.detach()[o, :, a, b] * seen).sum()
    return out


def normed(layer: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation in eval mode; channels first."""
    shape = (-1,) + (1,) * (x.dim() - 1)
    scale = layer.weight / (layer.running_var + 1e-5).sqrt()
    return (x - layer.running_mean.view(shape)) * scale.view(shape) + layer.bias.view(shape)


def naive(module: nn.Module, conv: nn.Conv2d, x_CHW: Tensor) -> Tensor:
    """Equations 1 to 6 for an image."""
    paths = [convolve(c, x_CHW, times, conv) for times, c in enumerate((conv, *module.dilated), start=1)]
    if isinstance(module.ends[0], nn.Sequential):
        paths = [normed(end[0], path).clamp(min=0) for end, path in zip(module.ends, paths, strict=True)]
    s_C = sum(paths).flatten(1).mean(1)
    z_D = normed(module.squeeze[1], module.squeeze[0].weight @ s_C).clamp(min=0)
    powers = [(matrix @ z_D).exp() for matrix in module.choose.weight.split(conv.out_channels)]
    return sum(power[:, None, None] / sum(powers)[:, None, None] * path
               for power, path in zip(powers, paths, strict=True))  # fmt: skip


CONVS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2, "groups": 2, "bias": False},
    {"kernel_size": (1, 5), "padding": (0, 1), "dilation": (1, 2), "stride": (1, 2)},
]


@pytest.mark.parametrize("geometry", CONVS)
@pytest.mark.parametrize("knobs", [{}, {"num_paths": 3, "path_norm": False}])
def test_sk_is_its_equations(geometry, knobs, stir) -> None:
    conv = nn.Conv2d(4, 6, **geometry)
    module = stir(create("sk", conv=conv, reduction=2, min_hidden=3, **knobs)).eval()
    x = torch.randn(2, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(x), torch.stack([naive(module, conv, image) for image in x]))


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_every_path_has_the_size_of_the_convolution_with_padding_by_name_too(padding) -> None:
    conv, x = nn.Conv2d(4, 6, 3, padding=padding), torch.randn(2, 4, 9, 8)
    module = create("sk", conv=conv, reduction=1, num_paths=3)
    assert {path(x).shape for path in (conv, *module.dilated)} == {module(x).shape}


def test_at_first_the_paths_are_nearly_averaged() -> None:
    conv, x = nn.Conv2d(4, 6, 3, padding=1), torch.randn(8, 4, 9, 8)
    module = create("sk", conv=conv, reduction=1, path_norm=False)
    first, second = conv(x), module.dilated[0](x)
    off = module(x) - (first + second) / 2
    # V = a U_1 + (1 - a) U_2 = (U_1 + U_2) / 2 + (a - 1/2) (U_1 - U_2)
    assert (off.abs() <= 0.1 * (first - second).abs() + 1e-5).all()


def macs(module: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module.eval()(x)
    return counter.get_total_flops() // 2


def test_init_identity_is_the_convolution_bit_for_bit_and_computes_it_once() -> None:
    conv, x = nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.randn(3, 4, 9, 8)
    module = create("sk", conv=conv, reduction=1, init="identity")
    assert torch.equal(module(x), conv(x))
    assert (
        macs(module, x)
        == macs(create("sk", conv=conv, reduction=1), x)
        == 3 * (2 * 6 * 4 * 9 * 5 * 4 + 6 * 32 + 32 * 12)
    )


def test_the_convolutions_parameters_are_kept_under_their_names() -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1)
    parameters = dict(create("sk", conv=conv, reduction=1).named_parameters())
    assert parameters["weight"] is conv.weight
    assert parameters["bias"] is conv.bias


def test_sknet_50_has_the_printed_parameters() -> None:
    """Table 2 prints 25.0M for ResNeXt-50 and 27.5M for SKNet-50; its 3x3 convolutions have 32 groups."""
    resnext, printed, added = 25_028_904, 27.5e6, 0
    for width, blocks in ((128, 3), (256, 4), (512, 6), (1024, 3)):
        conv = nn.Conv2d(width, width, 3, padding=1, groups=32, bias=False, device="meta")
        with torch.device("meta"):
            module = create("sk", conv=conv)
        # The norm that the host has behind the convolution is one of the paths' in the paper.
        replaced = conv.weight.numel() + 2 * width
        added += blocks * (sum(p.numel() for p in module.parameters()) - replaced)
    assert round(resnext / 1e5) == 250
    assert round((resnext + added) / 1e5) == printed / 1e5


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv2d(4, 4, 1), "dilation changes nothing in a 1x1 convolution"),
        (nn.Conv2d(4, 4, 2), "a 2x2 kernel has no middle"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "zero padding, the convolution has 'reflect'"),
    ],
)
def test_what_has_no_dilated_fellow_is_refused_with_the_reason(conv, reason) -> None:
    with pytest.raises(InputError, match=reason):
        create("sk", conv=conv, reduction=1)


def test_a_convolution_that_computes_something_of_its_own_is_refused() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean())

    with pytest.raises(InputError, match="needs a plain convolution, Standardised computes something of its own"):
        create("sk", conv=Standardised(4, 4, 3), reduction=1)


def test_effective_is_equal_exactly_if_the_same_is_built() -> None:
    grid = {"reduction": [2, 3, 4, 5], "min_hidden": [1, 3, 4], "num_paths": [2, 3], "path_norm": [True, False]}
    conv, x = nn.Conv2d(4, 11, 3, padding=1, bias=False), torch.randn(6, 4, 4, 3)
    groups: dict[Any, set[Any]] = {}
    for values in product(*grid.values()):
        knobs = dict(zip(grid, values, strict=True))
        said = effective("sk", knobs, channels=11, resolution=(4, 3), conv=ConvGeometry.of(conv))
        groups.setdefault(tuple(said.items()), set()).add(built(conv, knobs, x))
    assert all(len(networks) == 1 for networks in groups.values())
    assert len({network for networks in groups.values() for network in networks}) == len(groups)


def built(conv: nn.Conv2d, knobs: dict[str, Any], x: Tensor) -> Any:
    """Return the parameters' shapes and some of the output from seeded parameters."""
    module = create("sk", conv=conv, **knobs)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        output = [round(value, 3) for value in module(x)[0, :, 0, 0].tolist()]
    return tuple(p.shape for p in module.parameters()), tuple(output)
