"""The papers' own hosts: their parameters and shapes by arithmetic, and that they run."""

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from search_spaces import Architecture, HostConfig
from search_spaces.cost import measure_cost
from search_spaces.hosts import build_host
from search_spaces.hosts.aff_cifar import AffCifarResNet, InceptionBlock, PreActBlock
from search_spaces.hosts.densenet_bc import DenseNetBC
from search_spaces.hosts.drawing import draw_as_glorot, draw_as_he
from search_spaces.hosts.wide_resnet import WideBlock
from search_spaces.networks import build_network_on_meta

TINY: list[dict[str, Any]] = [
    {"name": "resnet20", "width": 0.25},
    {"name": "preresnet164", "width": 0.0625},
    {"name": "wrn28_10", "width": 0.0125},
    {"name": "resnext29_8x64d", "width": 0.03125},
    {"name": "densenet_bc_100_12", "width": 1 / 12},
    {"name": "mobilenet_v1", "width": 0.125, "stem": "cifar", "input": 16},
    {"name": "aff_resnet20_b1", "width": 0.0625},
    {"name": "aff_inception_resnet20_b1", "width": 0.0625},
    {"name": "aff_resnext38_32x4d", "width": 0.25},
    {"name": "aff_resnet50", "width": 0.0625, "stem": "cifar", "input": 16},
    {"name": "cifar_mobilenet_v2", "width": 0.25},
    {"name": "cifar_shufflenet_v2_x0_5"},
]

each_tiny = pytest.mark.parametrize("given", TINY, ids=lambda given: given["name"])


def num_params(name: str, **host: Any) -> int:
    return sum(p.numel() for p in build_network_on_meta(HostConfig(name=name, **host)).parameters())


def conv(channels_in: int, channels: int, kernel: int, groups: int = 1, *, bias: bool = False) -> int:
    """Count the parameters of a convolution."""
    return channels_in // groups * channels * kernel**2 + bias * channels


def norm(channels: int) -> int:
    """Count the parameters of a batch norm."""
    return 2 * channels


def linear(channels_in: int, channels: int) -> int:
    """Count the parameters of a linear layer with biases."""
    return channels_in * channels + channels


def maps(host: HostConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each direct child of the network (on images of the host's size) gives."""
    network = build_network_on_meta(host).eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            shapes[name] = tuple(output.shape[1:])

        return hook

    for name, child in network.named_children():
        child.register_forward_hook(keep(name))
    network(torch.empty(2, host.channels, host.input, host.input, device="meta"))
    return shapes


def test_wide_resnets_have_the_parameters_that_their_paper_describes() -> None:
    for name, num_blocks, factor in (("wrn28_8", 4, 8), ("wrn28_10", 4, 10), ("wrn40_10", 6, 10)):
        expected, before = conv(3, 16, 3), 16
        for width in (16 * factor, 32 * factor, 64 * factor):
            expected += norm(before) + conv(before, width, 3) + norm(width) + conv(width, width, 3)
            expected += conv(before, width, 1)
            expected += (num_blocks - 1) * (2 * norm(width) + 2 * conv(width, width, 3))
            before = width
        expected += norm(before) + linear(before, 100)
        assert num_params(name, classes=100) == expected


def test_the_pre_activation_net_has_164_layers_and_the_parameters_of_18_bottlenecks_per_stage() -> None:
    expected, before, layers = conv(3, 16, 3), 16, 1
    for inner in (16, 32, 64):
        for block in range(18):
            expected += norm(before) + conv(before, inner, 1) + norm(inner) + conv(inner, inner, 3)
            expected += norm(inner) + conv(inner, 4 * inner, 1)
            expected += conv(before, 4 * inner, 1) if block == 0 else 0
            before, layers = 4 * inner, layers + 3
    expected, layers = expected + norm(before) + linear(before, 100), layers + 1
    assert layers == 164
    assert num_params("preresnet164", classes=100) == expected


@pytest.mark.parametrize("groups", [8, 16])
def test_resnext29_has_the_parameters_of_its_template(groups: int) -> None:
    expected, before = conv(3, 64, 3) + norm(64), 64
    for stage in range(3):
        inner, after = groups * 64 * 2**stage, 256 * 2**stage
        for block in range(3):
            expected += conv(before, inner, 1) + conv(inner, inner, 3, groups) + conv(inner, after, 1)
            expected += 2 * norm(inner) + norm(after)
            expected += conv(before, after, 1) + norm(after) if block == 0 else 0
            before = after
    assert num_params(f"resnext29_{groups}x64d", classes=100) == expected + linear(1024, 100)


def test_a_densenet_bc_grows_by_k_and_halves_at_its_transitions() -> None:
    growth, channels = 12, 24
    expected = conv(3, channels, 3)
    widths = []
    for stage in range(3):
        if stage:
            expected += norm(channels) + conv(channels, channels // 2, 1)
            channels //= 2
            widths.append(channels)
        for _ in range((100 - 4) // 6):
            expected += norm(channels) + conv(channels, 4 * growth, 1)
            expected += norm(4 * growth) + conv(4 * growth, growth, 3)
            channels += growth
        widths.append(channels)
    assert widths == [216, 108, 300, 150, 342]
    assert num_params("densenet_bc_100_12", classes=100) == expected + norm(342) + linear(342, 100)
    shapes = maps(HostConfig(name="densenet_bc_100_12"))
    assert [shapes[f"layer{i}"] for i in (1, 2, 3)] == [(216, 32, 32), (300, 16, 16), (342, 8, 8)]


def test_mobilenet_v1_has_the_parameters_and_resolutions_of_its_table() -> None:
    expected, before = conv(3, 32, 3) + norm(32), 32
    for after in (64, 128, 128, 256, 256, 512, *[512] * 5, 1024, 1024):
        expected += conv(before, before, 3, before) + norm(before) + conv(before, after, 1) + norm(after)
        before = after
    assert num_params("mobilenet_v1") == expected + linear(1024, 1000)
    assert maps(HostConfig(name="mobilenet_v1"))["blocks"] == (1024, 7, 7)
    assert maps(HostConfig(name="mobilenet_v1", stem="cifar", input=32))["blocks"] == (1024, 2, 2)


@pytest.mark.parametrize("b", [1, 4, 5])
def test_aff_s_resnet_has_b_blocks_per_stage_and_pooled_shortcuts_without_norm(b: int) -> None:
    for name, first_kernels in (("aff_resnet20", (3,)), ("aff_inception_resnet20", (3, 5))):
        expected, before = conv(3, 64, 3), 64
        for width in (64, 128, 256):
            for _ in range(b):
                expected += norm(before) + sum(conv(before, width, kernel) for kernel in first_kernels)
                expected += norm(width) + conv(width, width, 3)
                expected += conv(before, width, 1) if before != width else 0
                before = width
        assert num_params(f"{name}_b{b}", classes=100) == expected + norm(256) + linear(256, 100)


def test_the_aff_paper_s_narrow_networks_are_a_quarter_as_wide() -> None:
    shapes = maps(HostConfig(name="aff_resnet20_b1", width=0.25))
    assert [shapes[f"layer{i}"] for i in (1, 2, 3)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_the_aff_hosts_for_imagenet_have_deep_stems_of_their_own_widths() -> None:
    for name, stem, groups, group in (("aff_resnet50", 32, 1, 64), ("aff_resnext50_32x4d", 64, 32, 4)):
        expected = conv(3, stem, 3) + conv(stem, stem, 3) + conv(stem, 2 * stem, 3) + 2 * norm(stem) + norm(2 * stem)
        before = 2 * stem
        for stage, num_blocks in enumerate((3, 4, 6, 3)):
            inner, after = groups * group * 2**stage, 256 * 2**stage
            for block in range(num_blocks):
                expected += conv(before, inner, 1) + conv(inner, inner, 3, groups) + conv(inner, after, 1)
                expected += 2 * norm(inner) + norm(after)
                expected += conv(before, after, 1) + norm(after) if block == 0 else 0
                before = after
        assert num_params(name) == expected + linear(2048, 1000)
        assert maps(HostConfig(name=name))["layer4"] == (2048, 7, 7)


def test_the_mobilenet_v2_for_cifar_begins_with_maps_of_34x34_and_has_biases() -> None:
    shapes = maps(HostConfig(name="cifar_mobilenet_v2"))
    assert shapes["pre"] == (32, 34, 34)
    assert shapes["stages"] == (320, 5, 5)
    network = build_network_on_meta(HostConfig(name="cifar_mobilenet_v2"))
    assert all(module.bias is not None for module in network.modules() if isinstance(module, nn.Conv2d))


def test_a_shuffle_unit_alternates_the_channels_of_its_halves() -> None:
    unit = build_host(HostConfig(name="cifar_shufflenet_v2_x0_5")).eval().get_submodule("stage2.1")
    x = torch.rand(2, 48, 3, 3)
    result = unit(x)
    assert torch.equal(result[:, 0::2], x[:, :24])
    assert torch.equal(result[:, 1::2], unit.get_submodule("residual")(x[:, 24:]))


# FLOPs that BAM's tables 3 and 4 and AW's table 1 print, in multiply-accumulates and units of 1e9. Those of networks of
# bottlenecks are left out: there the papers have the stride in another convolution (docs/papers.md).
@pytest.mark.parametrize(
    ("host", "printed"),
    [
        ({"name": "wrn28_8", "classes": 100}, "3.36"),
        ({"name": "wrn28_10", "classes": 100}, "5.24"),
        ({"name": "wrn40_10", "classes": 100}, "8.07"),
        ({"name": "densenet_bc_100_12", "classes": 100}, "0.29"),
        ({"name": "mobilenet_v1"}, "0.569"),
        ({"name": "resnet18", "width": 1.5}, "3.87"),
        ({"name": "resnet18", "width": 2.0}, "6.70"),
    ],
)
def test_the_multiply_accumulates_are_those_that_papers_print(host: dict[str, Any], printed: str) -> None:
    macs = measure_cost(Architecture.from_dict({"host": host, "placement": {}})).macs
    assert f"{macs / 1e9:.{len(printed.partition('.')[2])}f}" == printed


@each_tiny
def test_it_learns_and_is_traced_in_both_modes(given: dict[str, Any]) -> None:
    host = HostConfig(**{"classes": 3, "input": 8, "channels": 2, **given})
    torch.manual_seed(0)
    network = build_host(host)
    images = torch.rand(2, 2, host.input, host.input)
    network(images).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in network.parameters() if parameter.grad is not None)
    for mode in (True, False):
        network.train(mode)
        traced = fx.symbolic_trace(network)
        assert torch.equal(traced(images), network(images))
    assert network(images).shape == (2, 3)


def test_a_shortcut_of_a_wide_resnet_starts_from_the_activated_input_where_the_channels_change() -> None:
    block = WideBlock(3, 5, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 3, 6, 6)
    assert block.shortcut is not None
    torch.testing.assert_close(block(x), block.shortcut(torch.relu(block.bn1(x))))
    same = WideBlock(3, 3, stride=1).eval()
    nn.init.zeros_(same.conv2.weight)
    torch.testing.assert_close(same(x), x)


def test_an_inception_block_adds_two_convolutions_of_one_layer() -> None:
    block = InceptionBlock(3, 3, stride=1).eval()
    x = torch.randn(2, 3, 6, 6)
    active = torch.relu(block.bn1(x))
    inner = block.conv1(active) + block.conv1_5x5(active)
    torch.testing.assert_close(block(x), x + block.conv2(torch.relu(block.bn2(inner))))


def test_fusion_takes_the_place_of_the_sum_of_two_convolutions_and_leaves_the_residual_addition() -> None:
    host: dict[str, Any] = {"name": "aff_inception_resnet20_b1", "width": 0.125, "classes": 3, "input": 8}
    placed = Architecture.from_dict({"host": host, "placement": {"*/concat": {"module": "aff", "reduction": 4}}})
    model = placed.build(seed=0)
    expected = num_params(**host)
    for channels in (8, 16, 32):
        hidden = channels // 4
        branch = conv(channels, hidden, 1, bias=True) + conv(hidden, channels, 1, bias=True)
        expected += 2 * (branch + norm(hidden) + norm(channels))
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize("size", [7, 8])
def test_a_pooled_shortcut_gives_what_the_strided_branch_gives_also_on_odd_maps(size: int) -> None:
    network = AffCifarResNet(PreActBlock, 1, 0.0625, classes=3).eval()
    assert network(torch.rand(1, 3, size, size)).shape == (1, 3)
    assert isinstance(network.get_submodule("layer2.0.downsample.0"), nn.AvgPool2d)


def test_a_depth_that_no_densenet_bc_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"6n \+ 4 layers, got 101"):
        DenseNetBC(101, 12)


def test_he_draws_by_fan_out_and_glorot_by_both_fans() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(20, 60, 3)
    fan_in, fan_out = 20 * 9, 60 * 9
    draw_as_he(layer)
    # 10,800 weights estimate a variance within a few hundredths.
    assert layer.weight.var().item() == pytest.approx(2 / fan_out, rel=0.1)
    draw_as_glorot(layer)
    assert layer.weight.var().item() == pytest.approx(2 / (fan_in + fan_out), rel=0.1)
    assert layer.bias is not None
    assert not layer.bias.any()
