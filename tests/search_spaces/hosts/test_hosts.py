"""The hosts: their defaults, their stems, and what is refused."""

import pytest
import torch
from torch import nn

from search_spaces import HostConfig, InputError, find_sites
from search_spaces.hosts import build_host, host_names
from search_spaces.hosts.cifar_resnet import CifarBlock, CifarResNet
from search_spaces.networks import build_network_on_meta
from search_spaces.yaml_files import Document, validate


def host(**given: object) -> HostConfig:
    return validate(HostConfig, Document(given, "host"))


def convs(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_defaults_are_those_of_the_host() -> None:
    cifar, imagenet = HostConfig(name="resnet56"), HostConfig(name="resnet50")
    assert (cifar.classes, cifar.input, cifar.stem) == (10, 32, "cifar")
    assert (imagenet.classes, imagenet.input, imagenet.stem) == (1000, 224, "imagenet")
    assert (imagenet.channels, imagenet.pretrained) == (3, False)


def test_every_family_of_the_plan_is_there() -> None:
    wanted = {"resnet110", "resnet152", "resnext101_64x4d", "wide_resnet50_2", "mobilenet_v2"}
    wanted |= {"mobilenet_v3_large", "efficientnet_b7", "efficientnet_v2_l", "regnet_x_32gf", "regnet_y_128gf"}
    wanted |= {"preresnet164", "wrn28_8", "wrn28_10", "wrn40_10", "resnext29_8x64d", "resnext29_16x64d"}
    wanted |= {"densenet_bc_100_12", "mobilenet_v1", "cifar_mobilenet_v2", "cifar_shufflenet_v2_x1_0"}
    wanted |= {"aff_resnet20_b1", "aff_inception_resnet20_b4", "aff_resnext38_32x4d"}
    wanted |= {"aff_resnet50", "aff_resnext50_32x4d"}
    assert wanted <= set(host_names())


@pytest.mark.parametrize("name", host_names())
def test_every_host_is_traced_and_has_sites(name: str) -> None:
    sites = find_sites(name)
    names = [site.name for site in sites]
    assert len(set(names)) == len(names)
    stages = list(dict.fromkeys(site.stage for site in sites))
    assert [site.stage for site in sites if site.place == "end"] == stages[:-1]
    kinds = {site.place_kind for site in sites}
    assert {"conv", "out"} <= kinds
    # What has no residual addition has concatenations or, as MobileNet v1, neither.
    assert {"branch", "merge"} <= kinds or not {"branch", "merge"} & kinds
    heights = [next(site.resolution[0] for site in sites if site.stage == stage) for stage in stages]
    assert heights == sorted(heights, reverse=True)


def test_the_stem_for_small_images_keeps_the_resolution(family: HostConfig) -> None:
    cifar = family.model_copy(update={"stem": "cifar"})
    network = build_network_on_meta(cifar)
    stem = convs(network)[0]
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert not any(isinstance(module, nn.MaxPool2d) for module in network.modules())
    # RegNet's and MobileNetV3-small's first blocks are strided themselves.
    strided = family.name.startswith(("regnet", "mobilenet_v3_small"))
    assert find_sites(cifar)[-1].resolution < (cifar.input, cifar.input)
    first_out = next(site for site in find_sites(cifar) if site.place == "out")
    assert first_out.resolution[0] == cifar.input // (2 if strided else 1)


def test_only_the_stem_knows_how_many_channels_images_have(family: HostConfig) -> None:
    grey, colour = (
        {name: tensor.shape for name, tensor in build_network_on_meta(config).state_dict().items()}
        for config in (family.model_copy(update={"channels": n}) for n in (1, 3))
    )
    assert grey.keys() == colour.keys()
    differ = [name for name in grey if grey[name] != colour[name]]
    assert [grey[name][1] for name in differ] == [1]
    assert [colour[name][1] for name in differ] == [3]


def test_the_stem_is_drawn_like_the_convolution_it_replaces() -> None:
    torch.manual_seed(0)
    stem = convs(build_host(HostConfig(name="resnet18", stem="cifar")))[0]
    # He et al., 2015: variance 2 / fan-out; 64 x 3 x 9 weights estimate it within a tenth.
    assert stem.weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.1)


def test_a_host_on_meta_is_the_host_without_data(family: HostConfig) -> None:
    state = torch.get_rng_state()
    without = build_network_on_meta(family)
    assert torch.equal(state, torch.get_rng_state())
    assert {tensor.device.type for tensor in without.state_dict().values()} == {"meta"}
    shapes = {name: tensor.shape for name, tensor in build_host(family).state_dict().items()}
    assert {name: tensor.shape for name, tensor in without.state_dict().items()} == shapes


def test_a_cifar_resnet_has_the_parameters_that_its_paper_describes() -> None:
    num_blocks = 3
    weights = 3 * 16 * 9 + 2 * 16
    for before, width in ((16, 16), (16, 32), (32, 64)):
        first = before * width * 9 + width * width * 9 + 2 * 2 * width
        weights += first + (num_blocks - 1) * (2 * width * width * 9 + 2 * 2 * width)
    weights += 64 * 10 + 10
    assert sum(parameter.numel() for parameter in CifarResNet(6 * num_blocks + 2).parameters()) == weights


def test_a_shortcut_of_option_a_subsamples_and_pads_with_zero_channels() -> None:
    block = CifarBlock(4, 8, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 4, 6, 6)
    expected = torch.zeros(2, 8, 3, 3)
    expected[:, 2:6] = x[:, :, ::2, ::2]
    torch.testing.assert_close(block(x), expected)


def test_a_depth_that_no_cifar_resnet_has_is_refused() -> None:
    with pytest.raises(ValueError, match="6n \\+ 2 layers, got 21"):
        CifarResNet(21)


def test_an_unknown_host_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"^host: name: unknown host 'resnet51'.*did you mean 'resnet5") as error:
        host(name="resnet51")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "resnet20", "stem": "imagenet"}, "stem: resnet20 has no imagenet stem; allowed: cifar"),
        ({"name": "resnet20", "pretrained": True}, "pretrained: no pretrained weights are published for resnet20"),
        ({"name": "resnet50", "pretrained": True, "channels": 1}, "pretrained: pretrained weights are for `stem"),
        ({"name": "resnet50", "pretrained": True, "stem": "cifar"}, "pretrained: pretrained weights are for `stem"),
        ({"name": "resnet50", "classes": 0}, "classes: must be greater than or equal to 1, got 0"),
        ({"name": "resnet50", "input": 10**9}, "input: must be less than or equal to 10000, got 1000000000"),
        ({"name": "resnet50", "classes": True}, "classes: must be a whole number, got True"),
        ({"name": "resnet50", "widths": 2}, "widths: unknown key; allowed: channels, classes"),
        ({}, "the key 'name' is missing"),
    ],
)
def test_what_a_host_cannot_be_is_refused_at_its_key(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"^host: {message}"):
        host(**given)
