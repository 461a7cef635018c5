"""CAT against its equations, its colla-factors, its parameter counts, and what is built for which knobs."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention import create, effective, entry
from search_spaces.errors import InputError

CHANNELS = 6
ON = {"gap": True, "gmp": True, "gep": True}


def cat(channels: int = CHANNELS, seed: int | None = None, **knobs: Any) -> nn.Module:
    """Make a module; with a seed, parameters far from where they start."""
    module = create("cat", channels=channels, **{"reduction": 2} | knobs)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return module


def draw(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


# The paper's equations, one image at a time, position by position where it is simple.


def blurred(plane: Tensor, size: int, sigma: float, both: bool) -> Tensor:
    """Weigh what is around each position of a (H, W) map by a Gaussian of sum 1, along H or along both."""
    reach, result = size // 2, torch.zeros_like(plane)
    height, width = plane.shape
    for h, w in product(range(height), range(width)):
        near = [(i, j) for i in range(height) for j in range(width)
                if abs(i - h) <= reach and abs(j - w) <= (reach if both else 0)]  # fmt: skip
        weights = [math.exp(-((i - h) ** 2 + (j - w) ** 2) / (2 * sigma**2)) for i, j in near]
        values = [weight * plane[i, j] for weight, (i, j) in zip(weights, near, strict=True)]
        result[h, w] = sum(values) / sum(weights)
    return result


def normalised(entropies: Tensor, symmetric: bool) -> Tensor:
    unit = (entropies - entropies.min()) / (entropies.max() - entropies.min() + 1e-5)
    return 2 * unit - 1 if symmetric else unit


def pooled(f_CHW: Tensor, knobs: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return what is pooled for the channels, (C,) each, and for the positions, (H, W) each."""
    gauss = (knobs.get("gauss_size", 5), knobs.get("gauss_sigma", 1.0))
    symmetric = knobs.get("entropy_range") == "symmetric"
    over_positions, over_channels = (f_CHW.flatten(1).softmax(1).view_as(f_CHW), f_CHW.softmax(0))
    if knobs.get("entropy_softmax") == "other":
        over_positions, over_channels = over_channels, over_positions
    on = [knobs.get(name, True) for name in ("gap", "gmp", "gep")]
    for_channels = [
        f_CHW.mean((1, 2)),
        torch.stack([blurred(plane, *gauss, both=False).max() for plane in f_CHW]),
        normalised(-(over_positions * over_positions.log()).sum((1, 2)), symmetric),
    ]
    for_positions = [
        -f_CHW.mean(0),
        torch.stack([blurred(plane, *gauss, both=True) for plane in f_CHW]).max(0).values,
        normalised(-(over_channels * over_channels.log()).sum(0), symmetric),
    ]
    chosen = [[v for v, is_on in zip(kind, on, strict=True) if is_on] for kind in (for_channels, for_positions)]
    return chosen[0], chosen[1]


def factors(network: Any, number: int, softmax: bool) -> list[float]:
    values = network.factors.values
    if values is None:
        return [1 / number] * number
    exponentials = [math.exp(value) for value in values.tolist()]
    return [e / sum(exponentials) for e in exponentials] if softmax else values.tolist()


def logits(module: Any, f_CHW: Tensor, knobs: dict[str, Any], side: str) -> Tensor:
    """Eq. 5, (C, 1, 1), or eq. 7, (1, H, W)."""
    for_channels, for_positions = pooled(f_CHW, knobs)
    softmax = knobs.get("interior_softmax", False)
    if side == "channel":
        first, second = module.channel.squeeze.weight, module.channel.excite.weight
        shares = factors(module.channel, len(for_channels), softmax)
        outputs = [second @ (first @ values).relu() for values in for_channels]
        return sum(share * output for share, output in zip(shares, outputs, strict=True))[:, None, None]
    shares = factors(module.spatial, len(for_positions), softmax)
    total_HW = sum(share * values for share, values in zip(shares, for_positions, strict=True))
    kernel = module.spatial.conv.weight
    return functional.conv2d(total_HW[None, None], kernel, padding=kernel.shape[-1] // 2)[0]


def naive(module: Any, f_CHW: Tensor, knobs: dict[str, Any]) -> Tensor:
    arrangement, place = knobs.get("arrangement", "parallel"), knobs.get("sigmoid", "before")
    if arrangement != "parallel":
        for side in arrangement.split("_"):
            f_CHW = f_CHW * logits(module, f_CHW, knobs, side).sigmoid()
        return f_CHW
    c, s = (logits(module, f_CHW, knobs, side) for side in ("channel", "spatial"))
    c_w, s_w = 0.5, 0.5
    if module.exterior.values is not None:
        e_c, e_s = (math.exp(value) for value in module.exterior.values.tolist())
        c_w, s_w = e_c / (e_c + e_s), e_s / (e_c + e_s)
    if place == "before":
        return f_CHW * (c_w * c.sigmoid() + s_w * s.sigmoid())
    return f_CHW * (c_w * c).sigmoid() + f_CHW * (s_w * (s.sigmoid() if place == "twice" else s)).sigmoid()


SETTINGS: list[dict[str, Any]] = [
    {}, {"sigmoid": "after"}, {"sigmoid": "twice"}, {"interior_softmax": True}, {"interior": False},
    {"exterior": False}, {"exterior": False, "sigmoid": "after"}, {"entropy_softmax": "other"},
    {"entropy_range": "symmetric"}, {"gauss_size": 1}, {"gauss_size": 3, "gauss_sigma": 0.6}, {"kernel_size": 3},
    {"gap": False}, {"gmp": False}, {"gep": False}, {"gmp": False, "gep": False}, {"gap": False, "gmp": False},
    {"gap": False, "gep": False, "interior_softmax": True}, {"gep": False, "interior": False},
    {"arrangement": "channel"}, {"arrangement": "spatial"}, {"arrangement": "channel_spatial"},
    {"arrangement": "spatial_channel"}, {"arrangement": "spatial", "gap": False, "entropy_softmax": "other"},
    {"arrangement": "channel_spatial", "gep": False, "interior_softmax": True}, {"reduction": 1},
]  # fmt: skip


@pytest.mark.parametrize("knobs", SETTINGS)
def test_it_computes_the_equations(knobs) -> None:
    module, x = cat(seed=1, **knobs).double(), draw(2, CHANNELS, 3, 4).double()
    expected = torch.stack([naive(module, image, knobs) for image in x])
    torch.testing.assert_close(module(x), expected)
    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("knobs", [{}, {"sigmoid": "twice", "interior_softmax": True}, {"entropy_softmax": "other"},
                                   {"arrangement": "spatial_channel"}])  # fmt: skip
def test_the_gradients_of_input_and_parameters_pass_gradcheck(knobs) -> None:
    module = cat(4, seed=1, kernel_size=3, **knobs).double()
    names, values = zip(*module.named_parameters(), strict=True)

    def run(x: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, given, strict=True)), x)

    assert torch.autograd.gradcheck(run, (draw(2, 4, 3, 2).double().requires_grad_(), *values))


@pytest.mark.parametrize("width", [256, 512, 1024, 2048])
def test_it_has_57_parameters_more_than_squeeze_and_excitation_without_bias(width) -> None:
    count = {name: sum(p.numel() for p in create(name, channels=width, **knobs).parameters())
             for name, knobs in (("se", {"bias": False}), ("cat", {}))}  # fmt: skip
    assert count["se"] == 2 * width * (width // 16)
    assert count["cat"] - count["se"] == 7 * 7 + 8


@pytest.mark.parametrize(("knobs", "number"), [
    ({}, 8), ({"exterior": False}, 6), ({"interior": False}, 2), ({"exterior": False, "interior": False}, 0),
    ({"gep": False}, 6), ({"gep": False, "gmp": False}, 4), ({"gep": False, "gmp": False, "interior_softmax": True}, 2),
    ({"arrangement": "channel"}, 3), ({"arrangement": "spatial"}, 3), ({"arrangement": "channel_spatial"}, 6),
])  # fmt: skip
def test_the_scalars_it_learns_are_the_factors_that_are_there(knobs, number) -> None:
    assert sum(p.numel() for p in cat(**knobs).parameters() if p.dim() == 1) == number


def test_every_weight_is_a_half_at_the_start() -> None:
    x = draw(2, CHANNELS, 5, 4)
    torch.testing.assert_close(cat()(x), x / 2)


@pytest.mark.parametrize("softmax", [False, True])
def test_the_interior_factors_always_move_in_the_first_step_the_layers_with_a_softmax(softmax) -> None:
    module, x = cat(interior_softmax=softmax), draw(2, CHANNELS, 5, 4)
    (module(x) * draw(2, CHANNELS, 5, 4).flip(0)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        # Without a softmax both sides weigh 1/2 there, so that their shares change nothing either.
        assert bool(parameter.grad.abs().max() > 1e-5) == (softmax or "factors" in name), name


def test_the_factors_can_be_read_as_they_act() -> None:
    module: Any = cat(interior_softmax=True)
    with torch.no_grad():
        module.exterior.values.copy_(torch.tensor([math.log(3), 0]))
        module.spatial.factors.values.copy_(torch.tensor([math.log(2), 0, 0]))
    expected = {"C_w": 3 / 4, "S_w": 1 / 4, "C_alpha": 1 / 3, "C_beta": 1 / 3, "C_gamma": 1 / 3,
                "S_alpha": 1 / 2, "S_beta": 1 / 4, "S_gamma": 1 / 4}  # fmt: skip
    assert module.colla_factors() == pytest.approx(expected)
    assert list(module.colla_factors()) == list(expected)


def test_the_factors_that_are_read_are_those_that_are_there() -> None:
    module: Any = cat(arrangement="spatial", gmp=False)
    with torch.no_grad():
        module.spatial.factors.values.copy_(torch.tensor([0.25, -3.0]))
    assert module.colla_factors() == {"S_alpha": 0.25, "S_gamma": -3.0}
    module = cat(exterior=False, interior=False, gap=False)
    assert module.colla_factors() == dict.fromkeys(("C_w", "S_w", "C_beta", "C_gamma", "S_beta", "S_gamma"), 0.5)


def test_a_constant_input_divides_nothing_by_zero() -> None:
    for entropy_range in ("unit", "symmetric"):
        module = cat(seed=1, entropy_range=entropy_range)
        x = torch.full((2, CHANNELS, 3, 3), 2.0, requires_grad=True)
        output = module(x)
        output.sum().backward()
        assert output.isfinite().all()
        assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in (x, *module.parameters()))


def test_all_in_bfloat16_it_runs() -> None:
    for arrangement in ("parallel", "channel_spatial"):
        module, x = cat(seed=1, arrangement=arrangement), draw(2, CHANNELS, 4, 4)
        output = module.bfloat16()(x.bfloat16())
        assert output.dtype == torch.bfloat16
        torch.testing.assert_close(output.float(), module.float()(x), rtol=0.05, atol=0.1)


def test_no_pooling_at_all_is_refused() -> None:
    off = dict.fromkeys(ON, False)
    with pytest.raises(InputError, match="set at least one of them to true"):
        cat(**off)
    with pytest.raises(InputError, match="set at least one of them to true"):
        effective("cat", off, channels=64, resolution=(8, 8))


@pytest.mark.parametrize("knob", ["kernel_size", "gauss_size"])
def test_an_even_size_is_refused(knob) -> None:
    with pytest.raises(InputError, match=f"'{knob}' of cat: must be odd"):
        cat(**{knob: 4})


GRIDS: list[dict[str, list[Any]]] = [
    {"arrangement": ["parallel", "channel", "spatial", "channel_spatial", "spatial_channel"],
     "sigmoid": ["before", "after", "twice"], "exterior": [True, False]},
    {"arrangement": ["parallel", "channel", "spatial", "spatial_channel"], "kernel_size": [3, 5],
     "reduction": [3, 4, 5]},
    {"arrangement": ["parallel", "channel", "spatial"], "gap": [True, False], "gmp": [True, False],
     "gep": [True, False], "interior": [True, False], "interior_softmax": [True, False], "gauss_size": [1, 3]},
    {"arrangement": ["parallel", "channel", "spatial", "channel_spatial"], "gmp": [True, False],
     "gauss_size": [1, 3, 5, 7, 9, 11], "gauss_sigma": [2.0, 4.0]},
    {"arrangement": ["parallel", "channel", "spatial", "spatial_channel"], "gep": [True, False],
     "entropy_softmax": ["summed", "other"], "entropy_range": ["unit", "symmetric"]},
]  # fmt: skip


def built(knobs: dict[str, Any], x: Tensor) -> tuple[Any, Tensor]:
    modules = [cat(x.shape[1], seed=seed, **knobs) for seed in (1, 2)]
    with torch.no_grad():
        return [p.shape for p in modules[0].parameters()], torch.stack([module(x) for module in modules])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 4), (5, 1)])
def test_effective_is_equal_exactly_if_shapes_and_output_are(grid, size) -> None:
    x = draw(3, 11, *size)
    groups: dict[Any, tuple[Any, Tensor]] = {}
    for values in product(*grid.values()):
        knobs = dict(zip(grid, values, strict=True))
        if not any((ON | knobs)[name] for name in ON):
            continue
        said = effective("cat", {"reduction": 2} | knobs, channels=11, resolution=size)
        shapes, output = built(knobs, x)
        known = groups.setdefault(tuple(said.items()), (shapes, output))
        assert known[0] == shapes, knobs
        torch.testing.assert_close(output, known[1], rtol=1e-4, atol=1e-5)
    different = list(groups.items())
    for i, (said, (shapes, output)) in enumerate(different):
        for other_said, (other_shapes, other) in different[:i]:
            same = shapes == other_shapes and torch.allclose(output, other, rtol=1e-4, atol=1e-5)
            assert not same, (said, other_said)


def test_every_knob_has_been_in_a_grid() -> None:
    assert {knob for grid in GRIDS for knob in grid} == set(entry("cat").knobs)
