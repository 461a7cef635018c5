"""Attention augmentation against its paper's equations, its arithmetic and what it is given."""

import copy
import math
import pickle
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.attention import ConvGeometry, create, effective
from search_spaces.errors import InputError

SMALL = {"heads": 2, "key_ratio": 0.5, "value_ratio": 0.34, "min_key_dims": 1}
"""On 12 channels: 3 key dimensions and 2 values per head, so 4 channels of attention beside 8."""


def attend(module: nn.Module, x_CHW: Tensor, stride: int) -> Tensor:
    """MHA of an image, position by position, with relative logits by explicit offsets (eq. 1 to 4)."""
    heads, (d, v) = module.attention.heads, (3, 2)
    matrix = module.attention.qkv.weight.detach().flatten(1)
    seen = x_CHW[:, ::stride, ::stride]
    height, width = seen.shape[1:]
    positions = list(product(range(height), range(width)))
    qkv = {(i, j): matrix @ seen[:, i, j] for i, j in positions}
    relative = module.attention.relative
    out = torch.zeros(heads * v, height, width)
    for head, (iy, ix) in product(range(heads), positions):
        query = qkv[iy, ix][head * d : head * d + d]
        powers, values = [], []
        for jy, jx in positions:
            key = qkv[jy, jx][heads * d + head * d : heads * d + head * d + d]
            if relative is not None:
                key = key + relative.columns[jx - ix + relative.largest[1] - 1]
                key = key + relative.rows[jy - iy + relative.largest[0] - 1]
            powers.append(math.exp((query @ key).item() / math.sqrt(d)))
            values.append(qkv[jy, jx][2 * heads * d + head * v : 2 * heads * d + head * v + v])
        average = sum(p / sum(powers) * value for p, value in zip(powers, values, strict=True))
        out[head * v : head * v + v, iy, ix] = average
    return torch.einsum("oi,ihw->ohw", module.attention.out.weight.detach().flatten(1), out)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(("stride", "kernel_size", "bias"), [(1, 3, True), (2, 3, False), (2, 1, True)])
def test_aa_is_its_equations(stride, kernel_size, bias, relative, stir) -> None:
    conv = nn.Conv2d(5, 12, kernel_size, stride=stride, padding=kernel_size // 2, bias=bias)
    x = torch.randn(2, 5, 5, 6, generator=torch.Generator().manual_seed(0))
    module = stir(create("aa", conv=conv, resolution=conv(x).shape[2:], relative=relative, **SMALL))
    with torch.no_grad():
        conv.weight[:8] = module.weight
        if bias:
            conv.bias[:8] = module.bias
        expected = [torch.cat((conv(image[None])[0, :8], attend(module, image, stride))) for image in x]
    torch.testing.assert_close(module(x), torch.stack(expected))


def test_a_smaller_map_uses_the_middle_of_the_embeddings(stir) -> None:
    conv, x = nn.Conv2d(5, 12, 3, padding=1), torch.randn(1, 5, 3, 4)
    module = stir(create("aa", conv=conv, resolution=(6, 5), **SMALL))
    torch.testing.assert_close(module(x)[0, 8:], attend(module, x[0], 1))
    with pytest.raises(InputError, match="built for maps up to 6x5, got 3x6"):
        module(torch.randn(1, 5, 3, 6))


def test_the_first_filters_of_the_convolution_are_kept() -> None:
    conv = nn.Conv2d(5, 12, 3, padding=1)
    module = create("aa", conv=conv, resolution=(4, 4), **SMALL)
    parameters = dict(module.named_parameters())
    assert torch.equal(parameters["weight"], conv.weight[:8])
    assert torch.equal(parameters["bias"], conv.bias[:8])


def count(channels: int, inputs: int, keys: int, values: int, heads: int, size: tuple[int, int]) -> int:
    """The paper's parameters beside a 3x3 convolution without bias; `keys` and `values` per head."""
    dv = heads * values
    embeddings = (2 * size[0] - 1 + 2 * size[1] - 1) * keys
    return (channels - dv) * inputs * 9 + inputs * (2 * heads * keys + dv) + dv * dv + embeddings


@pytest.mark.parametrize(
    ("channels", "keys", "values"),
    [(16, 20, 1), (160, 20, 2), (320, 20, 4), (640, 20, 8), (1200, 30, 15), (1000, 25, 12)],
)
def test_by_default_it_has_the_papers_dimensions(channels, keys, values) -> None:
    """v = 0.1 and k = 0.2 over 8 heads, rounded down; keys of 20 dimensions or more, values of 1 or more."""
    with torch.device("meta"):
        conv = nn.Conv2d(4, channels, 3, padding=1, bias=False)
        module = create("aa", conv=conv, resolution=(4, 5))
    assert sum(p.numel() for p in module.parameters()) == count(channels, 4, keys, values, 8, (4, 5))


def test_a_ratio_is_the_decimal_that_is_written() -> None:
    """0.29 * 100 is a little below 29 in floats."""
    conv = ConvGeometry.of(nn.Conv2d(4, 100, 1))
    said = effective("aa", {"heads": 1, "value_ratio": 0.29}, channels=100, resolution=(4, 4), conv=conv)
    assert said["values"] == 29


def macs(module: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module.eval()(x)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("values", "value_ratio"), [(2, 0.34), (3, 0.5)])
def test_its_multiply_accumulates_are_those_of_the_equations(values, value_ratio, device) -> None:
    """Also where keys and values are as wide (3), which lets torch fuse the attention on a CPU."""
    knobs = SMALL | {"value_ratio": value_ratio}
    with torch.device(device):
        conv, x = nn.Conv2d(5, 12, 3, stride=2, padding=1, bias=False), torch.randn(1, 5, 7, 9)
        module = create("aa", conv=conv, resolution=(4, 5), **knobs)
    positions, dv = 4 * 5, 2 * values
    products = 2 * positions * (4 + 5) * 3 + 2 * positions**2 * (3 + values)
    convolutions = positions * ((12 - dv) * 5 * 9 + 5 * (2 * 6 + dv) + dv * dv)
    assert macs(module, x) == convolutions + products


@pytest.mark.parametrize("bias", [True, False])
def test_init_identity_is_the_whole_convolution_bit_for_bit(bias) -> None:
    conv, x = nn.Conv2d(5, 12, 3, stride=2, padding=1, bias=bias), torch.randn(3, 5, 7, 9)
    module = create("aa", conv=conv, resolution=(4, 5), init="identity", **SMALL)
    assert torch.equal(module.weight, conv.weight)
    assert torch.equal(module(x), conv(x))
    paper = create("aa", conv=conv, resolution=(4, 5), **SMALL)
    module.alpha.data.fill_(1)
    module.attention.load_state_dict(paper.attention.state_dict())
    torch.testing.assert_close(module(x), paper(x))


def test_the_filters_left_over_are_in_no_copy_and_no_file() -> None:
    module = create("aa", conv=nn.Conv2d(64, 64, 3, padding=1), resolution=(4, 4))
    parameters = sum(p.numel() * p.element_size() for p in module.parameters())
    assert len(pickle.dumps(module)) < parameters + 8 * 64 * 9
    assert copy.deepcopy(module)._left is None


WIDE = {"heads": 2, "value_ratio": 0.34, "min_key_dims": 3}
"""On 48 channels: 16 of them from attention, as many as `aw` needs where they are its input."""


@pytest.mark.parametrize("stride", [1, 2])
def test_with_aw_conv_the_parallel_convolution_is_an_aw_convolution(stride, stir) -> None:
    conv, x = nn.Conv2d(16, 48, 3, stride=stride, padding=1), torch.randn(2, 16, 5, 6)
    size = conv(x).shape[2:]
    module = stir(create("aa", conv=conv, resolution=size, aw="conv", **WIDE)).eval()
    parallel = create("aw", conv=nn.Conv2d(16, 32, 3, stride=stride, padding=1)).eval()
    with torch.no_grad():
        parallel.weight.copy_(module.weight)
        parallel.bias.copy_(module.bias)
    parallel.attend.load_state_dict(module.on_weights.state_dict())
    torch.testing.assert_close(module(x), torch.cat((parallel(x), module.attention(x)), 1))


def added_by_aw(inputs: int, outputs: int) -> int:
    """Two layers without bias, by 16 // 16 hidden channels, and their norms."""
    hidden = inputs // 16
    return inputs * hidden + hidden * outputs + 2 * hidden + 2 * outputs


@pytest.mark.parametrize(("aw", "inputs", "outputs"), [("conv", 32, 32), ("qkv", 32, 2 * 8 + 16), ("out", 16, 16)])
def test_each_of_the_three_convolutions_can_have_attention_on_its_weights(aw, inputs, outputs, stir) -> None:
    conv, x = nn.Conv2d(32, 48, 3, padding=1, bias=False), torch.randn(2, 32, 5, 6)
    made = [create("aa", conv=conv, resolution=(5, 6), aw=which, key_ratio=0.17, **WIDE) for which in ("none", aw)]
    plain, augmented = (sum(p.numel() for p in module.parameters()) for module in made)
    assert augmented - plain == added_by_aw(inputs, outputs)
    plain, augmented = (stir(module).eval()(x) for module in made)
    assert torch.equal(plain[:, :32], augmented[:, :32]) == (aw != "conv")
    assert not torch.allclose(plain, augmented)


@pytest.mark.parametrize("aw", ["conv", "qkv", "out"])
@pytest.mark.parametrize("bias", [True, False])
def test_init_identity_is_the_convolution_with_aw_too(aw, bias) -> None:
    conv, x = nn.Conv2d(16, 48, 3, padding=1, bias=bias), torch.randn(2, 16, 5, 6)
    knobs = {"conv": conv, "resolution": (5, 6), "aw": aw, **WIDE}
    module, paper = create("aa", init="identity", **knobs).eval(), create("aa", **knobs).eval()
    torch.testing.assert_close(module(x), conv(x))
    module.alpha.data.fill_(1)
    state = module.state_dict()
    paper.load_state_dict({key: state[key][: len(value)] if value.dim() else state[key]
                           for key, value in paper.state_dict().items()})  # fmt: skip
    torch.testing.assert_close(module(x), paper(x))


def test_a_convolution_too_narrow_for_aw_is_refused_naming_it() -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1)
    with pytest.raises(InputError, match="with `aw: out`, aw does not fit that convolution: reduction 16 is above"):
        create("aa", conv=conv, resolution=(4, 4), aw="out")


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv2d(8, 12, 3, padding=1, groups=2), "in 2 groups these never see the inputs of the last groups"),
        (nn.Conv2d(8, 12, 3), r"keeps the size but for its stride; this one is 3x3, dilated \(1, 1\), with padding"),
        (nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular"), "zero padding, the convolution has 'circular'"),
        (nn.Conv2d(8, 8, 3, padding=1), "8 heads of 1 values would take 8 of the 8 channels and leave none"),
    ],
)
def test_a_convolution_that_it_cannot_stand_for_is_refused_with_the_reason(conv, reason) -> None:
    with pytest.raises(InputError, match=reason):
        create("aa", conv=conv, resolution=(4, 4))


GRID: dict[str, list[Any]] = {
    "heads": [1, 2, 4], "key_ratio": [0.0, 0.3, 0.5], "value_ratio": [0.0, 0.3, 0.4], "min_key_dims": [1, 2, 4],
    "relative": [True, False],
}  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (3, 2)])
def test_effective_is_equal_exactly_if_the_same_is_built(size) -> None:
    conv, x = nn.Conv2d(4, 13, 3, padding=1, bias=False), torch.randn(2, 4, *size)
    groups: dict[Any, set[Any]] = {}
    for values in product(*GRID.values()):
        knobs = dict(zip(GRID, values, strict=True))
        said = effective("aa", knobs, channels=13, resolution=size, conv=ConvGeometry.of(conv))
        groups.setdefault(tuple(sorted(said.items())), set()).add(built(conv, knobs, x))
    assert all(len(networks) == 1 for networks in groups.values())
    assert len({network for networks in groups.values() for network in networks}) == len(groups)


def built(conv: nn.Conv2d, knobs: dict[str, Any], x: Tensor) -> Any:
    """Return the parameters' shapes and some of the output from seeded parameters."""
    module = create("aa", conv=conv, resolution=x.shape[2:], **knobs)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        output = [round(value, 3) for value in module(x)[0, :, 0, 0].tolist()]
    return tuple(p.shape for p in module.parameters()), tuple(output)
