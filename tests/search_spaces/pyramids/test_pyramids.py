"""Pyramids over any host: what they stand on, what reads them, and that they leave the host as it is."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Architecture, HostConfig, InputError, find_sites
from search_spaces.cost import host_cost
from search_spaces.hosts import build_host
from search_spaces.networks import build_network

HOSTS = [
    {"name": "resnet20", "input": 16, "channels": 1},
    {"name": "resnet18", "input": 16, "stem": "cifar"},
    {"name": "resnet50", "input": 64},
    {"name": "mobilenet_v2", "input": 64},
    {"name": "mobilenet_v3_small", "input": 64},
    {"name": "efficientnet_b0", "input": 64},
    {"name": "regnet_y_400mf", "input": 64},
    {"name": "timm/resnet18d", "input": 64},
    {"name": "timm/convnext_atto", "input": 64},
]


def with_neck(head: str = "classify", **host: object) -> HostConfig:
    return HostConfig(**{"classes": 4, "neck": "fpn", "head": head, **host})


@pytest.fixture(params=HOSTS, ids=lambda host: host["name"])
def over(request: pytest.FixtureRequest) -> HostConfig:
    """A host with a pyramid and a classifier."""
    if request.param["name"].startswith("timm/"):
        pytest.importorskip("timm")
    return with_neck(**request.param)


def seeded(host: HostConfig, seed: int = 1) -> nn.Module:
    """Build the network without editing it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(host)


def images(host: HostConfig, batch: int = 2) -> Tensor:
    return torch.randn(batch, host.channels, host.input, host.input, generator=torch.Generator().manual_seed(1))


def answer(network: nn.Module, x: Tensor) -> Tensor:
    """Return the output, with the same stochastic depth each time."""
    torch.manual_seed(2)
    return network(x)


@pytest.mark.parametrize("head", ["classify", "segment"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_with_nothing_placed_it_computes_what_it_computes_unedited(over: HostConfig, head: str, training: bool) -> None:
    host = over.model_copy(update={"head": head})
    network, unedited = Architecture.of(host, {}).build(seed=1), seeded(host)
    x = images(host)
    expected = answer(unedited.train(training), x)
    assert torch.equal(answer(network.train(training), x), expected)
    assert expected.shape == ((2, 4) if head == "classify" else (2, 4, host.input, host.input))


def test_it_has_the_parameters_of_the_host_under_body_without_those_behind_the_last_stage(over: HostConfig) -> None:
    bare, network = build_host(over.bare), Architecture.of(over, {}).build()
    theirs = {f"body.{name}": parameter.shape for name, parameter in bare.named_parameters()}
    ours = {name: p.shape for name, p in network.named_parameters() if name.startswith("body.")}
    assert ours.items() <= theirs.items()
    behind = {name.split(".")[1] for name in theirs.keys() - ours.keys()}
    assert behind <= {"fc", "classifier", "features", "head", "conv_head", "bn2", "norm_pre"}


def test_the_sites_of_the_host_have_the_names_and_sizes_they_have_without_a_pyramid(over: HostConfig) -> None:
    def facts(host: HostConfig) -> list[tuple[object, ...]]:
        sites = [site for site in find_sites(host) if site.stage != "fpn"]
        return [(site.name, site.block, site.stage, site.channels, site.resolution, site.conv) for site in sites]

    assert facts(over) == facts(over.bare)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The ends of the stages at strides of 4 to 32, in pixels of a 64x64 image.
        ("resnet18", [(512, 2), (256, 4), (128, 8), (64, 16)]),
        ("mobilenet_v2", [(320, 2), (96, 4), (32, 8), (24, 16)]),
        ("efficientnet_b0", [(320, 2), (112, 4), (40, 8), (24, 16)]),
        # Three stages are all there are, at strides of 1 to 4.
        ("resnet20", [(64, 16), (32, 32), (16, 64)]),
    ],
)
def test_it_stands_on_the_ends_of_the_last_four_stages(name: str, expected: list[tuple[int, int]]) -> None:
    sites = find_sites(with_neck(name=name, input=64))
    laterals = [site for site in sites if site.place_kind == "lateral"]
    assert [(site.channels, site.resolution[0]) for site in laterals] == expected


def test_the_pyramid_reads_what_the_stages_answer() -> None:
    host = with_neck(name="resnet18", input=64)
    network, bare = seeded(host).eval(), seeded(host.bare).eval()
    x = images(host)
    with torch.no_grad():
        y = bare.maxpool(bare.relu(bare.bn1(bare.conv1(x))))
        ends = []
        for stage in (bare.layer1, bare.layer2, bare.layer3, bare.layer4):
            y = stage(y)
            ends.append(y)
        maps = list(network.body(x).values())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(maps, ends, strict=True))


@pytest.mark.parametrize(("name", "width"), [("resnet18", 256), ("resnet20", 64), ("mobilenet_v3_small", 96)])
def test_it_is_256_wide_but_no_wider_than_the_last_stage(name: str, width: int) -> None:
    host = with_neck(name=name, input=64)
    assert {site.channels for site in find_sites(host) if site.place_kind == "output"} == {width}


def _num_pyramid_params(widths: list[int], width: int) -> int:
    """Count a 1x1 and a 3x3 convolution with biases per level."""
    return sum(each * width + width for each in widths) + len(widths) * (9 * width * width + width)


def test_the_classifier_reads_the_average_of_every_level() -> None:
    host = with_neck(name="resnet18", input=64)
    body = host_cost(host.bare).params - (512 * 4 + 4)
    expected = body + _num_pyramid_params([64, 128, 256, 512], 256) + (4 * 256 * 4 + 4)
    assert host_cost(host).params == expected
    network = seeded(host).eval()
    x = images(host)
    averages = [each.mean((2, 3)) for each in network.fpn(network.body(x)).values()]
    torch.testing.assert_close(network(x), network.head.fc(torch.cat(averages, 1)))


def test_the_segmentation_head_is_that_of_panoptic_pyramids() -> None:
    host = with_neck("segment", name="resnet18", input=64)
    body = host_cost(host.bare).params - (512 * 4 + 4)
    # One convolution for each of the two finest levels, then 2 and 3; 128 channels, group norm behind each.
    convs = 4 * 9 * 256 * 128 + 3 * 9 * 128 * 128 + 7 * 2 * 128
    expected = body + _num_pyramid_params([64, 128, 256, 512], 256) + convs + (128 * 4 + 4)
    assert host_cost(host).params == expected
    norms = [module for module in seeded(host).head.modules() if isinstance(module, nn.GroupNorm)]
    assert {norm.num_groups for norm in norms} == {32}


def test_the_host_has_the_same_weights_with_and_without_a_pyramid() -> None:
    host = with_neck(name="resnet20", input=8)
    ours = Architecture.of(host, {}).build(seed=3).state_dict()
    theirs = Architecture.of(host.bare, {}).build(seed=3).state_dict()
    shared = [name for name in theirs if f"body.{name}" in ours]
    assert len(shared) == len(theirs) - 2  # The classifier.
    assert all(torch.equal(ours[f"body.{name}"], theirs[name]) for name in shared)


def test_images_whose_sides_do_not_halve_evenly_are_read() -> None:
    host = with_neck("segment", name="resnet18", input=50)
    assert Architecture.of(host, {}).build()(images(host)).shape == (2, 4, 50, 50)


def test_a_host_with_one_stage_is_refused() -> None:
    # A single pixel is not halved: all blocks of the host are at one resolution.
    with pytest.raises(InputError, match=r"resnet20 has 1 stage\(s\) at 1x1; a pyramid stands on the ends"):
        find_sites(with_neck(name="resnet20", input=1))


def test_a_host_that_cannot_have_a_pyramid_is_named_with_its_line() -> None:
    with pytest.raises(InputError, match=r"architecture: host: resnet20 has 1 stage"):
        Architecture.from_dict({"host": {"name": "resnet20", "input": 1, "neck": "fpn"}, "placement": {}})


def test_the_identities_of_hosts_without_a_neck_do_not_know_of_it() -> None:
    assert "neck" not in HostConfig(name="resnet20").to_dict()
    assert with_neck(name="resnet20").to_dict()["neck"] == "fpn"
