"""The AW-convolution against the paper's equations, and its forms against the definition."""

import math
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

from search_spaces import Architecture
from search_spaces.attention import ConvGeometry, create, effective
from search_spaces.attention.ops import aw_autograd
from search_spaces.attention.ops.aw_columns import has_columns
from search_spaces.attention.ops.aw_forms import Geometry, choose_form, convolve, kernels, pool
from search_spaces.errors import InputError

# Input and output channels, size of the map, and the convolution's own settings.
CONVS: dict[str, tuple[int, int, tuple[int, int], dict[str, Any]]] = {
    "3x3": (4, 6, (5, 7), {"kernel_size": 3, "padding": 1}),
    "stride 2": (4, 6, (5, 8), {"kernel_size": 3, "padding": 1, "stride": 2}),
    "stride 3, no padding": (4, 6, (7, 9), {"kernel_size": 3, "stride": 3}),
    "dilated": (4, 6, (6, 5), {"kernel_size": 3, "padding": 2, "dilation": 2}),
    "a map of one position": (4, 6, (1, 1), {"kernel_size": 3, "padding": 1}),
    "5x5 with bias": (4, 6, (5, 6), {"kernel_size": 5, "padding": 2, "bias": True}),
    "1x3": (4, 6, (4, 5), {"kernel_size": (1, 3), "padding": (0, 1)}),
    "1x1": (4, 6, (4, 5), {"kernel_size": 1}),
    "1x1, stride 2": (4, 6, (4, 5), {"kernel_size": 1, "stride": 2}),
    "groups": (4, 6, (5, 7), {"kernel_size": 3, "padding": 1, "groups": 2}),
    "groups, stride 2": (8, 4, (6, 7), {"kernel_size": 3, "padding": 1, "groups": 2, "stride": 2}),
    "depthwise": (4, 4, (5, 7), {"kernel_size": 3, "padding": 1, "groups": 4}),
    "same, uneven": (4, 6, (5, 6), {"kernel_size": (2, 4), "padding": "same", "dilation": (1, 3)}),
}
every_conv = pytest.mark.parametrize("case", CONVS)
every_form = pytest.mark.parametrize("form", ["grouped", "columns", "taps"])


def build(case: str, **knobs: Any) -> tuple[nn.Conv2d, nn.Module, Tensor]:
    """Return a convolution, the module that stands for it with its parameters stirred, and three images."""
    inputs, outputs, size, settings = CONVS[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Conv2d(inputs, outputs, **{"bias": False} | settings).double()
        module = create("aw", conv=conv, **{"reduction": 2} | knobs).double()
        for parameter in module.attend.parameters():
            nn.init.normal_(parameter)
        return conv, module, torch.randn(3, inputs, *size, dtype=torch.float64)


def attention_map(module: nn.Module, x: Tensor, kernel: tuple[int, ...], knobs: dict[str, int]) -> Tensor:
    """Return A of eq. 7 and 8 written out, (N, C2, C1 / groups, h, w), in training."""
    (_, inputs, height, width), r_hw = kernel, knobs["r_hw"]
    first, norm, _, second, second_norm, _ = module.attend
    rows, columns = height // r_hw, width // r_hw

    def window(i: int, parts: int, size: int) -> slice:
        return slice(math.floor(i * size / parts), math.ceil((i + 1) * size / parts))

    def normed(layer: nn.Module, z: Tensor) -> Tensor:
        mean = z.mean((0, 1, 2))
        variance = ((z - mean) ** 2).mean((0, 1, 2))
        return (z - mean) / (variance + 1e-5).sqrt() * layer.weight + layer.bias

    pooled = [[x[:, :, window(i, rows, x.shape[2]), window(j, columns, x.shape[3])].mean((2, 3))
               for j in range(columns)] for i in range(rows)]  # fmt: skip
    a0 = torch.stack([torch.stack(row, 1) for row in pooled], 1)  # (N, h, w, C1)
    hidden = normed(norm, a0 @ first.weight.t()).clamp(min=0)
    values = 1 / (1 + torch.exp(-normed(second_norm, hidden @ second.weight.t())))
    num_blocks = inputs // knobs["r_c1"]
    result = torch.empty(len(x), *kernel, dtype=x.dtype)
    for p, o, j, k in product(*map(range, kernel)):
        value = (p // knobs["r_c2"]) * num_blocks + o // knobs["r_c1"]
        result[:, p, o, j, k] = values[:, j // r_hw, k // r_hw, value]
    return result


def image_by_image(x: Tensor, kernels_NPCHW: Tensor, **settings: Any) -> Tensor:
    """Return eq. 5: each image convolved with its own kernel."""
    return torch.cat([functional.conv2d(x[n : n + 1], kernels_NPCHW[n], **settings) for n in range(len(x))])


def settings_of(conv: nn.Conv2d) -> dict[str, Any]:
    return {"bias": conv.bias, "stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation,
            "groups": conv.groups}  # fmt: skip


@every_conv
@pytest.mark.parametrize("residual", [True, False])
def test_it_is_the_papers_equations(case, residual) -> None:
    conv, module, x = build(case, residual=residual)
    shares = {"r_c1": conv.weight.shape[1], "r_c2": 1, "r_hw": 1}
    a = attention_map(module, x, conv.weight.shape, shares)
    expected = image_by_image(x, conv.weight + a * conv.weight if residual else a * conv.weight, **settings_of(conv))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("shares", [(1, 1, 1), (2, 1, 1), (4, 2, 1), (2, 3, 3), (1, 6, 3), (4, 1, 3)])
@pytest.mark.parametrize("case", ["3x3", "stride 2"])
def test_values_are_shared_by_channels_and_taps_as_the_knobs_say(case, shares) -> None:
    knobs = dict(zip(("r_c1", "r_c2", "r_hw"), shares, strict=True))
    conv, module, x = build(case, **knobs)
    a = attention_map(module, x, conv.weight.shape, knobs)
    torch.testing.assert_close(module(x), image_by_image(x, conv.weight + a * conv.weight, **settings_of(conv)))


def test_with_groups_values_are_shared_within_a_group() -> None:
    knobs = {"r_c1": 2, "r_c2": 1, "r_hw": 1}
    conv, module, x = build("groups, stride 2", **knobs)
    a = attention_map(module, x, conv.weight.shape, knobs)
    torch.testing.assert_close(module(x), image_by_image(x, conv.weight + a * conv.weight, **settings_of(conv)))


def given(case: str, num_blocks: int, last: bool) -> tuple[Tensor, Tensor, Tensor, Geometry]:
    """Return x, K, S and the geometry that a form is given."""
    inputs, outputs, size, settings = CONVS[case]
    conv = nn.Conv2d(inputs, outputs, **settings)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    x = draw(3, inputs, *size).to(memory_format=torch.channels_last if last else torch.contiguous_format)
    weight, scale = draw(*conv.weight.shape), draw(3, outputs, num_blocks, *conv.kernel_size)
    geometry = Geometry(conv.stride, conv.padding, conv.dilation, conv.groups)
    return x.requires_grad_(), weight.requires_grad_(), scale.requires_grad_(), geometry


def by_definition(x: Tensor, weight: Tensor, scale: Tensor, geometry: Geometry) -> Tensor:
    scaled = weight * scale.repeat_interleave(weight.shape[1] // scale.shape[2], 2)
    return image_by_image(x, scaled, stride=geometry.stride, padding=geometry.padding, dilation=geometry.dilation,
                          groups=geometry.groups)  # fmt: skip


@every_form
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("parts", ["a batch at once", "image by image"])
@pytest.mark.parametrize("case", [case for case in CONVS if case != "same, uneven"])
def test_a_form_and_its_gradients_are_the_definitions(case, parts, last, form, monkeypatch) -> None:
    if parts == "image by image":
        monkeypatch.setattr(aw_autograd, "CHUNK_BYTES", 1)
    _, weight, _, geometry = given(case, 1, last)
    if form == "columns" and not has_columns(weight, geometry):
        pytest.skip("groups, strides or too much padding")
    for num_blocks in {1, weight.shape[1]}:
        x, weight, scale, geometry = given(case, num_blocks, last)
        expected = by_definition(x, weight, scale, geometry)
        output = convolve(x, weight, scale, geometry, form)
        torch.testing.assert_close(output, expected)
        wanted = torch.randn_like(expected)
        theirs = torch.autograd.grad(expected, (x, weight, scale), wanted)
        torch.testing.assert_close(torch.autograd.grad(output, (x, weight, scale), wanted), theirs)


@every_form
@pytest.mark.parametrize("case", ["3x3", "stride 2", "dilated", "groups"])
def test_a_forms_gradients_are_those_of_finite_differences(case, form) -> None:
    x, weight, scale, geometry = given(case, 2, True)
    if form == "columns" and not has_columns(weight, geometry):
        pytest.skip("groups, strides or too much padding")
    assert torch.autograd.gradcheck(
        lambda *tensors: convolve(*tensors, geometry, form), (x, weight, scale), fast_mode=True
    )


def test_the_attention_on_a_1x1_convolution_is_a_gate_on_its_output() -> None:
    x, weight, scale, geometry = given("1x1, stride 2", 1, True)
    assert choose_form(x, weight, scale, geometry) == "gate"
    expected = functional.conv2d(x, weight, stride=2) * scale[:, :, 0]
    torch.testing.assert_close(convolve(x, weight, scale, geometry), expected)
    torch.testing.assert_close(expected, by_definition(x, weight, scale, geometry))


def test_one_image_is_one_ordinary_convolution() -> None:
    x, weight, scale, geometry = given("groups, stride 2", 1, True)
    assert choose_form(x[:1], weight, scale[:1], geometry) == "single"
    expected = by_definition(x, weight, scale, geometry)[:1]
    torch.testing.assert_close(convolve(x[:1], weight, scale[:1], geometry), expected)


def test_one_image_costs_the_convolution_and_the_two_layers_of_the_map() -> None:
    with torch.device("meta"):
        module = create("aw", conv=nn.Conv2d(32, 64, 3, padding=1, bias=False), reduction=16).eval()
        x = torch.empty(1, 32, 8, 8)
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert counter.get_total_flops() // 2 == 8 * 8 * 9 * 32 * 64 + 9 * (32 * 2 + 2 * 64)


def chosen(
    channels: int,
    size: int,
    *,
    batch: int = 8,
    num_blocks: int = 1,
    groups: int = 1,
    stride: int = 1,
    dtype: torch.dtype = torch.bfloat16,
) -> str:
    with torch.device("meta"):
        x = torch.empty(batch, channels, size, size, dtype=dtype)
        weight = torch.empty(channels, channels // groups, 3, 3)
        scale = torch.empty(batch, channels, num_blocks, 3, 3)
    return choose_form(x, weight, scale, Geometry((stride, stride), (1, 1), (1, 1), groups))


def test_in_float32_columns_serve_more_shapes() -> None:
    wide = partial(chosen, dtype=torch.float32)
    assert wide(72, 17) == wide(32, 32) == wide(32, 4) == "columns"
    assert wide(72, 6) == "columns"  # 36 positions, half the channels
    assert wide(74, 6) == "taps"
    assert wide(31, 32) == "grouped"
    assert wide(72, 24, stride=2) == wide(144, 12, groups=2) == "grouped"  # as in bfloat16 where columns cannot be
    assert wide(72, 12, stride=2) == "taps"


def test_the_form_follows_from_the_shapes() -> None:
    assert chosen(72, 17) == "grouped"  # 289 positions, more than four times the channels
    assert chosen(72, 16) == "columns"
    assert chosen(72, 12) == "columns"  # 144 positions, twice the channels
    assert chosen(72, 11) == "taps"
    assert chosen(144, 12, groups=2) == "grouped"  # columns are not for groups
    assert chosen(72, 24, stride=2) == "grouped"  # nor for strides
    assert chosen(72, 12, stride=2) == "taps"  # 36 positions of the output
    assert chosen(32, 4) == "columns"  # too few channels for products of each tap
    assert chosen(31, 4) == "grouped"
    assert chosen(64, 8, num_blocks=2) == "columns"
    assert chosen(128, 8, groups=2) == "taps"
    assert chosen(512, 4, batch=1) == "single"


@every_form
def test_a_form_keeps_no_more_than_it_is_given(form) -> None:
    x, weight, scale, geometry = given("3x3", 1, True)
    kept: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.__setitem__(t.data_ptr(), t.numel()) or t, lambda t: t
    ):
        convolve(x, weight, scale, geometry, form)
    assert sum(kept.values()) <= x.numel() + weight.numel() + scale.numel()


@every_form
def test_bf16_is_as_near_as_its_rounding_allows(form) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(4, 64, 6, 6, generator=generator), torch.randn(64, 64, 3, 3, generator=generator) / 24
    scale, geometry = torch.rand(4, 64, 1, 3, 3, generator=generator) + 1, Geometry(padding=(1, 1))

    def run(*tensors: Tensor, enabled: bool) -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in tensors]
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = convolve(*leaves, geometry, form)
        output.float().square().sum().backward()
        return [output.float(), *(leaf.grad for leaf in leaves)]

    exact = run(x, weight, scale, enabled=False)
    for ours, theirs in zip(run(x, weight, scale, enabled=True), exact, strict=True):
        # A bf16 number has 8 bits; sums of several rounded ones are at most a few times as far off.
        assert (ours - theirs).norm() < 4 * 2**-8 * theirs.norm()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("size", "windows"), [((5, 7), (3, 3)), ((1, 1), (3, 3)), ((9, 4), (1, 3))])
def test_the_pooling_that_hands_x_on_has_both_gradients(size, windows, last) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    x = x.to(memory_format=torch.channels_last if last else torch.contiguous_format).requires_grad_()
    expected = functional.adaptive_avg_pool2d(x, windows)
    pooled, same = pool(x, windows)
    assert torch.equal(pooled, expected)
    assert torch.equal(same, x)
    to_pooled, to_x = torch.randn_like(pooled), torch.randn_like(x)
    (theirs,) = torch.autograd.grad(expected, x, to_pooled)
    (ours,) = torch.autograd.grad([pooled, same], x, [to_pooled, to_x.clone()])
    torch.testing.assert_close(ours, theirs + to_x)


@every_conv
@pytest.mark.parametrize("residual", [True, False])
def test_init_identity_is_the_convolution_whatever_its_geometry(case, residual) -> None:
    conv, module, x = build(case, init="identity", residual=residual)
    torch.testing.assert_close(module(x), conv(x))
    module.alpha.data.fill_(1)
    torch.testing.assert_close(module(x), build(case, residual=residual)[1](x))


def test_in_place_of_every_3x3_of_resnet_50_it_adds_165_208_parameters() -> None:
    """The printed 25.72 million are 25,722,240; the bare ResNet-50 has 25,557,032."""
    with torch.device("meta"):
        convs = [m for m in resnet50().modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        added = sum(p.numel() for conv in convs for p in create("aw", conv=conv).attend.parameters())
    assert len(convs) == 16
    assert added == 25_722_240 - 25_557_032


def test_the_hosts_weights_keep_their_names() -> None:
    host = {"name": "resnet20", "classes": 10}
    bare = Architecture.from_dict({"host": host}).build()
    placed = Architecture.from_dict({"host": host, "placement": {"*/conv*": {"module": "aw"}}}).build()
    assert {"layer1.0.conv1.weight", "layer3.2.conv2.weight"} <= set(bare.state_dict()) <= set(placed.state_dict())
    assert all(torch.equal(value, placed.state_dict()[name]) for name, value in bare.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "knobs", "message"),
    [
        ({}, {"reduction": 17}, "reduction 17 is above the 16 channels"),
        ({}, {"r_c1": 3}, "r_c1 3 does not divide the 16 input channels of a group; allowed here: 1, 2, 4, 8, 16"),
        ({"groups": 4}, {"r_c1": 8}, "r_c1 8 does not divide the 4 input channels of a group; allowed here: 1, 2, 4"),
        ({}, {"r_c2": 5}, "r_c2 5 does not divide the 8 output channels; allowed here: 1, 2, 4, 8"),
        ({}, {"r_hw": 2}, "r_hw 2 does not divide the 3 taps along an axis of the kernel; allowed here: 1, 3"),
        ({"kernel_size": (1, 3)}, {"r_hw": 3}, "r_hw 3 does not divide the 1 taps"),
        ({"padding_mode": "reflect"}, {}, "aw needs zero padding, the convolution has 'reflect'"),
    ],
)
def test_what_has_no_definition_is_refused_with_the_reason(settings, knobs, message) -> None:
    with pytest.raises(InputError, match=message):
        create("aw", conv=nn.Conv2d(16, 8, **{"kernel_size": 3, "padding": 1} | settings), **knobs)


def test_effective_is_equal_exactly_if_the_same_is_built() -> None:
    conv = nn.Conv2d(12, 6, 3, padding=1, groups=2)
    place: dict[str, Any] = {"channels": 6, "resolution": (4, 4), "conv": ConvGeometry.of(conv)}
    grid = {"reduction": [2, 5, 6, 7], "r_c1": ["all", 6, 3, 1], "r_c2": [1, 3], "r_hw": [1, 3],
            "residual": [True, False]}  # fmt: skip
    said: dict[Any, Any] = {}
    for values in product(*grid.values()):
        knobs = dict(zip(grid, values, strict=True))
        module = create("aw", conv=conv, **knobs)
        built = (*(p.shape for p in module.attend.parameters()), module.attention_map(torch.rand(2, 12, 4, 4)).shape,
                 knobs["r_c2"], knobs["r_hw"], knobs["residual"])  # fmt: skip
        assert said.setdefault(tuple(effective("aw", knobs, **place).items()), built) == built
    # 12 // 5 = 2; 12 // 6 = 2; 12 // 7 = 1: three widths. 6 input channels of a group are all: three shares.
    assert len(set(said.values())) == len(said) == 3 * 3 * 2 * 2 * 2


def test_effective_refuses_what_the_module_refuses() -> None:
    conv = ConvGeometry.of(nn.Conv2d(16, 8, 3))
    with pytest.raises(InputError, match="r_c1 3 does not divide"):
        effective("aw", {"r_c1": 3}, channels=8, resolution=(4, 4), conv=conv)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "size", "dtype", "form"),
    [
        (4, 6, torch.float32, "grouped"),
        (64, 12, torch.bfloat16, "columns"),
        (96, 4, torch.float32, "taps"),
    ],
)
def test_a_compiled_module_takes_batches_of_several_sizes(channels, size, dtype, form) -> None:
    """A last batch is often smaller."""
    torch._dynamo.reset()
    module = create("aw", conv=nn.Conv2d(channels, 6, 3, padding=1), reduction=2).to(dtype)
    x = torch.randn(4, channels, size, size).to(dtype)
    assert choose_form(x, module.weight, torch.empty(4, 6, 1, 3, 3), Geometry(padding=(1, 1))) == form
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    for batch in (4, 3):
        torch.testing.assert_close(compiled(x[:batch]), module(x[:batch]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("knobs", [{}, {"r_c1": 2, "r_c2": 3}, {"r_hw": 3}])
def test_an_exported_module_takes_batches_of_any_size(knobs) -> None:
    module = create("aw", conv=nn.Conv2d(4, 6, 3, stride=2, padding=1), reduction=2, **knobs).eval()
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(module, (torch.randn(3, 4, 7, 5),), dynamic_shapes=dynamic).module()
    for batch in (2, 5):
        x = torch.randn(batch, 4, 7, 5)
        torch.testing.assert_close(exported(x), module(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnx_takes_batches_of_any_size() -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    module = create("aw", conv=nn.Conv2d(4, 6, 3, stride=2, padding=1), reduction=2, r_c1=2).eval()
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    x = torch.randn(3, 4, 7, 5)
    program = torch.onnx.export(module, (x,), dynamo=True, dynamic_shapes=dynamic, verbose=False)
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    for batch in (1, 5):
        x = torch.randn(batch, 4, 7, 5)
        (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(theirs), module(x), rtol=1e-4, atol=1e-4)


def test_the_kernels_of_each_image_are_the_weights_times_the_factors() -> None:
    x, weight, scale, _ = given("groups, stride 2", 2, False)
    expected = torch.empty(len(x), *weight.shape, dtype=weight.dtype)
    for n, p, o, j, k in product(*map(range, expected.shape)):
        expected[n, p, o, j, k] = weight[p, o, j, k] * scale[n, p, o // 2, j, k]
    torch.testing.assert_close(kernels(weight, scale), expected)
