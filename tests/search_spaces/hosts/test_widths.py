"""Widths: which are built, as what, and which are refused."""

import pytest
import torch
import torchvision
from torch import nn

from search_spaces import HostConfig, InputError
from search_spaces.hosts import build_host, host_entry, host_names, on_meta
from search_spaces.hosts.cifar_resnet import CifarBlock
from search_spaces.hosts.torchvision_widths import build_widened
from search_spaces.hosts.widths import make_divisible, scale
from search_spaces.networks import build_network_on_meta
from search_spaces.yaml_files import Document, validate

WITH_WIDTHS = [name for name in host_names() if host_entry(name).widths]
FAMILIES = sorted({host_entry(name).build: name for name in WITH_WIDTHS}.values())
"""One host of each family; torchvision's are one family here."""
TORCHVISION = ["resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"]


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def out_channels(network: nn.Module) -> list[int]:
    return [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", sorted({*FAMILIES, *TORCHVISION}))
def test_a_width_changes_the_shapes_of_parameters_and_keeps_their_names(name: str) -> None:
    plain = shapes(build_network_on_meta(HostConfig(name=name)))
    wide = shapes(build_network_on_meta(HostConfig(name=name, width=2)))
    assert plain.keys() <= wide.keys()
    # ResNet-18 and -34 have a convolution in their first shortcut where stem and first stage differ in channels.
    assert {key.rpartition("downsample")[0] for key in wide.keys() - plain.keys()} <= {"layer1.0."}
    assert all(wide[key].numel() >= plain[key].numel() for key in plain)
    assert wide != plain


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"])
def test_width_1_is_torchvision_s_own_network_to_the_bit(name: str) -> None:
    torch.manual_seed(0)
    ours = build_host(HostConfig(name=name, classes=3)).state_dict()
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, num_classes=3).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", [name for name in WITH_WIDTHS if hasattr(torchvision.models, name)])
def test_what_builds_other_widths_builds_torchvision_s_network_at_1(name: str) -> None:
    # CIFAR hosts (resnet20) are not torchvision's.
    with on_meta():
        ours = build_widened(name, 1.0, 5)
        theirs = torchvision.models.get_model(name, num_classes=5)
    assert shapes(ours) == shapes(theirs)
    assert str(ours).partition("\n")[2] == str(theirs).partition("\n")[2]


def test_a_wider_resnet18_keeps_its_stem_and_multiplies_its_stages() -> None:
    network = build_network_on_meta(HostConfig(name="resnet18", width=1.5))
    blocks = [(96, 2), (192, 2), (384, 2), (768, 2)]
    expected = [64]
    for i, (channels, num_blocks) in enumerate(blocks):
        for block in range(num_blocks):
            # The first block of a stage has a convolution in its shortcut, since the channels change.
            expected += [channels] * (3 if block == 0 else 2)
        assert network.get_submodule(f"layer{i + 1}.1.conv2").out_channels == channels
    assert out_channels(network) == expected
    assert network.get_submodule("fc").in_features == 768


def test_a_wider_resnext_has_wider_groups_and_as_many() -> None:
    conv = build_network_on_meta(HostConfig(name="resnext50_32x4d", width=0.5)).get_submodule("layer1.0.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert (conv.groups, conv.in_channels) == (32, 32 * 2)


def test_a_narrow_resnet20_multiplies_its_stem_too() -> None:
    network = build_network_on_meta(HostConfig(name="resnet20", width=0.5))
    assert out_channels(network) == [8] + 6 * [8] + 6 * [16] + 6 * [32]


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.4])
def test_the_mobilenet_v2_for_cifar_rounds_as_torchvision_s_does(width: float) -> None:
    def outputs(network: nn.Module) -> list[int]:
        """Return the channels of each block, which are those of its last convolution."""
        blocks = [m for m in network.modules() if type(m).__name__ in ("LinearBottleneck", "InvertedResidual")]
        return [out_channels(block)[-1] for block in blocks]

    ours = build_network_on_meta(HostConfig(name="cifar_mobilenet_v2", width=width))
    theirs = build_network_on_meta(HostConfig(name="mobilenet_v2", width=width))
    assert outputs(ours) == outputs(theirs)
    assert out_channels(ours)[0] == out_channels(theirs)[0]


def test_an_efficientnet_s_width_is_multiplied_with_its_own() -> None:
    # Stem: 32 channels times 1.1 (B2) times 0.5, to a multiple of 8; last: four times 320 times 0.55.
    network = build_network_on_meta(HostConfig(name="efficientnet_b2", width=0.5))
    assert out_channels(network)[0] == 8 * round(32 * 1.1 * 0.5 / 8)
    assert out_channels(network)[-1] == 4 * 8 * round(320 * 1.1 * 0.5 / 8)


@pytest.mark.parametrize(
    ("channels", "expected"), [(3.0, 8), (8.4, 8), (12.0, 16), (11.9, 16), (11.2, 16), (17.6, 16), (18.0, 24)]
)
def test_rounding_is_to_the_nearest_multiple_of_8_and_never_a_tenth_down(channels: float, expected: int) -> None:
    nearest = max(8, 8 * int(channels / 8 + 0.5))
    assert expected == (nearest if nearest >= 0.9 * channels else nearest + 8)
    assert make_divisible(channels) == expected


def test_channels_are_multiplied_exactly_or_not_at_all() -> None:
    assert scale(12, 1 / 12) == 1
    with pytest.raises(ValueError, match=r"16 channels times a width of 0.3 is no whole number"):
        scale(16, 0.3)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("resnet20", 0.3, r"resnet20 has widths that are multiples of 1/16, got 0.3; the nearest: 0.25 and 0.3125$"),
        ("resnet20", 0.01, r"resnet20 has widths that are multiples of 1/16, got 0.01; the nearest: 0.0625$"),
        ("resnext50_32x4d", 0.6, r"multiples of 1/4, got 0.6; the nearest: 0.5 and 0.75$"),
        ("regnet_y_400mf", 2, r"regnet_y_400mf has no width but 1; some that have: .*\bresnet.* \(\d+ in all\)$"),
        ("cifar_shufflenet_v2_x1_0", 0.5, r"has no width but 1; some that have: cifar_mobilenet_v2,"),
        ("resnet20", 0, r"must be greater than 0, got 0"),
    ],
)
def test_a_width_that_a_host_cannot_have_is_refused_with_those_it_can(name: str, width: float, message: str) -> None:
    with pytest.raises(InputError, match=f"^host: width: .*{message}"):
        validate(HostConfig, Document({"name": name, "width": width}, "host"))


def test_pretrained_weights_have_one_width() -> None:
    given = {"name": "resnet18", "pretrained": True, "width": 2.0}
    with pytest.raises(InputError, match=r"^host: width: pretrained weights are for `width: 1`"):
        validate(HostConfig, Document(given, "host"))


@pytest.mark.parametrize("name", [name for name in FAMILIES if host_entry(name).width_divisor])
def test_the_least_step_above_1_is_built(name: str) -> None:
    divisor = host_entry(name).width_divisor
    assert divisor
    assert build_network_on_meta(HostConfig(name=name, width=(divisor + 1) / divisor))


def test_a_parameter_free_shortcut_pads_an_odd_number_of_channels() -> None:
    # 16 and 32 channels times 17/16.
    block = CifarBlock(17, 34, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 17, 4, 4)
    assert torch.equal(block(x)[:, 8:25], x[:, :, ::2, ::2])
    assert block(x).shape == (2, 34, 2, 2)
