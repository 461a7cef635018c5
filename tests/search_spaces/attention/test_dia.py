"""DIANet's cell against its equations, its printed size and what it is given."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.attention import create, effective
from search_spaces.errors import InputError


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def two_layers(network: nn.Sequential, z: list[float]) -> list[float]:
    for layer, squash in ((network[0], lambda v: max(v, 0.0)), (network[2], lambda v: v)):
        z = [squash(sum(w * v for w, v in zip(row, z, strict=True)) + b)
             for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)]  # fmt: skip
    return z


def step(module: nn.Module, x_CHW: Tensor, h: list[float], c: list[float]) -> tuple[Tensor, list[float], list[float]]:
    """One site, for an image: its output and the next h and c."""
    channels = len(x_CHW)
    pooled = [sum(channel.flatten().tolist()) / channel.numel() for channel in x_CHW]
    gates = [a + b for a, b in zip(two_layers(module.from_input, pooled), two_layers(module.from_state, h),
                                   strict=True)]  # fmt: skip
    enter, forget, new, out = (gates[k * channels : (k + 1) * channels] for k in range(4))
    c = [sigmoid(forget[k]) * c[k] + sigmoid(enter[k]) * math.tanh(new[k]) for k in range(channels)]
    h = [sigmoid(out[k]) * sigmoid(c[k]) for k in range(channels)]
    return torch.stack([x_CHW[k] * h[k] for k in range(channels)]), h, c


def test_dia_is_its_equations_along_three_sites(stir) -> None:
    module = stir(create("dia", channels=6, reduction=2)).eval()
    maps = torch.randn(3, 2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = []
    for image in maps.unbind(1):
        h, c, outputs = [0.0] * 6, [0.0] * 6, []
        for x in image:
            output, h, c = step(module, x, h, c)
            outputs.append(output)
        expected.append(torch.stack(outputs))
    state, ours = None, []
    for x in maps:
        output, state = module(x, state)
        ours.append(output)
    torch.testing.assert_close(torch.stack(ours, 1), torch.stack(expected))
    assert state[0].shape == state[1].shape == (2, 6)


def test_a_later_site_feels_an_earlier_one(stir) -> None:
    module = stir(create("dia", channels=6, reduction=1))
    first, second = torch.randn(2, 3, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    first.requires_grad_()
    _, state = module(first, None)
    output, _ = module(second, state)
    (gradient,) = torch.autograd.grad(output.sum(), first)
    assert gradient.abs().max() > 0
    assert not torch.allclose(output, module(second, None)[0])


def test_init_identity_is_the_identity_bit_for_bit_and_leaves_the_state_as_it_is() -> None:
    torch.manual_seed(0)
    paper, x = create("dia", channels=6, reduction=2), torch.randn(3, 6, 4, 5)
    module = create("dia", channels=6, reduction=2, init="identity")
    module.load_state_dict(paper.state_dict(), strict=False)
    output, state = module(x, None)
    assert torch.equal(output, x)
    assert torch.equal(torch.stack(state), torch.stack(paper(x, None)[1]))
    module.alpha.data.fill_(1)
    torch.testing.assert_close(module(x, None)[0], paper(x, None)[0])


def test_dianet_50_has_the_printed_parameters() -> None:
    """28.36M (BA-Net, table 2): ResNet-50 and a cell of reduction 20 for each stage."""
    cells = [create("dia", channels=channels, reduction=20) for channels in (256, 512, 1024, 2048)]
    added = sum(p.numel() for cell in cells for p in cell.parameters())
    assert added == sum(2 * (c * (c // 20) + c // 20 + c // 20 * 4 * c + 4 * c) for c in (256, 512, 1024, 2048))
    assert 25_557_032 + added == 28_358_052


def test_its_multiply_accumulates_are_those_of_its_four_layers() -> None:
    module, x = create("dia", channels=8, reduction=2), torch.randn(3, 8, 4, 5)
    with FlopCounterMode(display=False) as counter:
        module.eval()(x, None)
    assert counter.get_total_flops() // 2 == 3 * 2 * (8 * 4 + 4 * 32)


def test_a_reduction_above_the_channels_is_refused() -> None:
    with pytest.raises(InputError, match="reduction 5 is above the 4 channels"):
        create("dia", channels=4, reduction=5)


def test_effective_is_equal_exactly_if_the_same_is_built() -> None:
    groups: dict[Any, set[Any]] = {}
    for reduction in range(1, 12):
        said = effective("dia", {"reduction": reduction}, channels=11, resolution=(4, 3))
        module = create("dia", channels=11, reduction=reduction)
        groups.setdefault(tuple(said.items()), set()).add(tuple(p.shape for p in module.parameters()))
    assert all(len(shapes) == 1 for shapes in groups.values())
    assert len(groups) == len({11 // reduction for reduction in range(1, 12)})
