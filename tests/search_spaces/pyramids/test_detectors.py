"""Detectors: torchvision's own over any host, with attention in backbone and pyramid."""

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from search_spaces import Architecture, HostConfig, InputError, find_sites, measure_cost
from search_spaces.build import build_on_meta
from search_spaces.cost import host_cost, what_macs_leave_out
from search_spaces.hosts import DETECTORS, SHORTHANDS, on_meta
from search_spaces.networks import build_network, build_network_on_meta

each_detector = pytest.mark.parametrize("head", DETECTORS)
SIZE = 64
TINY = {"name": "resnet18", "neck": "fpn", "input": SIZE, "classes": 3}


def theirs_on_meta(name: str) -> nn.Module:
    with on_meta():
        return torchvision.models.get_model(name, weights=None, weights_backbone=None).to("meta")


def detector(head: str, placement: dict[str, Any] | None = None, **host: Any) -> nn.Module:
    """Build a detector that looks at few proposals."""
    network = Architecture.from_dict({"host": {**TINY, "head": head, **host}, "placement": placement or {}}).build()
    if hasattr(network, "roi_heads"):
        network.roi_heads.fg_bg_sampler.batch_size_per_image = 4
        network.roi_heads.detections_per_img = 2
    return network


def target(head: str) -> dict[str, Tensor]:
    given = {"boxes": torch.tensor([[5.0, 6.0, 40.0, 50.0]]), "labels": torch.tensor([1])}
    more = {
        "maskrcnn": {"masks": torch.ones(1, SIZE, SIZE, dtype=torch.uint8)},
        "keypointrcnn": {"keypoints": torch.tensor([[[20.0, 20.0, 1.0]] * 17])},
    }
    return given | more.get(head, {})


def image(channels: int = 3, width: int = SIZE) -> Tensor:
    return torch.rand(channels, SIZE, width, generator=torch.Generator().manual_seed(1))


def losses(network: nn.Module, head: str, batch: int = 1) -> dict[str, Tensor]:
    torch.manual_seed(2)  # Proposals are sampled.
    answer: dict[str, Tensor] = network.train()([image()] * batch, [target(head)] * batch)
    return answer


@each_detector
def test_over_resnet50_it_has_torchvisions_parameters_by_name_and_shape(head: str) -> None:
    name = f"{head}_resnet50_fpn"
    expected = {key: value.shape for key, value in theirs_on_meta(name).state_dict().items()}
    network = build_on_meta(HostConfig(name=name), ())
    assert {key: value.shape for key, value in network.state_dict().items()} == expected
    assert host_cost(HostConfig(name=name)).params == sum(p.numel() for p in theirs_on_meta(name).parameters())


@each_detector
def test_over_resnet50_it_has_torchvisions_anchors_and_image_sizes(head: str) -> None:
    ours, theirs = (
        network.rpn if hasattr(network, "rpn") else network
        for network in (
            build_network_on_meta(HostConfig(name=f"{head}_resnet50_fpn")),
            theirs_on_meta(f"{head}_resnet50_fpn"),
        )
    )
    assert ours.anchor_generator.sizes == theirs.anchor_generator.sizes
    assert ours.anchor_generator.aspect_ratios == theirs.anchor_generator.aspect_ratios


def test_torchvisions_weights_load_and_give_torchvisions_losses_and_detections() -> None:
    torch.manual_seed(0)
    settings = {
        "weights": None,
        "weights_backbone": None,
        "num_classes": 3,
        "min_size": SIZE,
        "max_size": SIZE * 5 // 3,
    }
    theirs = torchvision.models.get_model("fasterrcnn_resnet50_fpn", **settings)
    theirs.roi_heads.fg_bg_sampler.batch_size_per_image = 4
    theirs.roi_heads.detections_per_img = 2
    ours = detector("fasterrcnn", name="resnet50")
    ours.load_state_dict(theirs.state_dict())
    expected = losses(theirs, "fasterrcnn")
    assert losses(ours, "fasterrcnn") == expected
    (found,), (wanted,) = ours.eval()([image()]), theirs.eval()([image()])
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@each_detector
def test_it_is_trained_and_detects_with_attention_everywhere(head: str) -> None:
    placement = {
        "layer2.*/branch": {"module": "ba", "reduction": 8},
        "layer1/end": {"module": "bam"},
        "fpn/lateral*": {"module": "se"},
        "fpn/output*": [{"module": "cbam"}, {"module": "aw"}],
        "fpn/merge*": {"module": "aff", "reduction": 16},
    }
    network = detector(head, placement)
    # Two, since BAM has batch norm behind global pooling.
    found = losses(network, head, batch=2)
    total = sum(found.values())
    assert isinstance(total, Tensor)
    assert math.isfinite(total.item())
    total.backward()
    attention = {name: p for name, p in network.named_parameters() if ".attention." in name}
    assert len(attention) > 50
    assert all(parameter.grad is not None for parameter in attention.values())
    assert {"boxes", "labels", "scores"} <= network.eval()([image(), image(width=90)])[0].keys()


@each_detector
def test_with_nothing_placed_it_computes_what_it_computes_unedited(head: str) -> None:
    host = HostConfig(**TINY, head=head)
    edited = detector(head)
    unedited = build_network(host)
    unedited.load_state_dict(edited.state_dict())
    x = torch.randn(2, 3, SIZE, SIZE)
    for training in (True, False):
        ours, theirs = edited.backbone.train(training)(x), unedited.backbone.train(training)(x)
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[level], theirs[level]) for level in theirs)


def test_only_backbone_and_pyramid_have_sites() -> None:
    host = HostConfig(**TINY, head="fasterrcnn")
    with_classifier = host.model_copy(update={"head": "classify"})
    assert [site.name for site in find_sites(host)] == [site.name for site in find_sites(with_classifier)]


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_without_proposals_the_pyramid_begins_at_the_second_stage(head: str) -> None:
    sites = {site.name: site for site in find_sites(HostConfig(**TINY, head=head))}
    # The ends of layers 2 to 4.
    assert [sites[f"fpn/lateral{level}"].channels for level in (1, 2, 3)] == [128, 256, 512]
    assert "fpn/lateral4" not in sites


@pytest.mark.parametrize("name", SHORTHANDS)
def test_torchvisions_names_stand_for_host_neck_and_head(name: str) -> None:
    head = SHORTHANDS[name]
    host = HostConfig(name=name)
    assert host == HostConfig(name="resnet50", neck="fpn", head=head)
    assert (host.classes, host.input) == (2 if head == "keypointrcnn" else 91, 800)
    assert HostConfig(name=name, classes=5, input=320).to_dict()["classes"] == 5
    assert len(find_sites(name)) == len(find_sites(host))


def test_a_name_of_torchvision_with_another_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fasterrcnn_resnet50_fpn has head: fasterrcnn, got head: fcos"):
        HostConfig(name="fasterrcnn_resnet50_fpn", head="fcos")


def test_a_head_needs_its_neck() -> None:
    with pytest.raises(ValueError, match="head: maskrcnn reads a pyramid; add neck: fpn"):
        HostConfig(name="resnet18", head="maskrcnn")


def test_the_background_is_a_class() -> None:
    with pytest.raises(ValueError, match="classes of fcos count the background: 2 or more, got 1"):
        HostConfig(name="resnet18", neck="fpn", head="fcos", classes=1)


@each_detector
def test_images_of_which_one_pixel_is_left_are_refused(head: str) -> None:
    with pytest.raises(InputError, match=f"{head} over resnet18 needs larger images than `input: 32`"):
        find_sites(HostConfig(**{**TINY, "input": 32}, head=head))


def test_anchors_follow_the_strides_of_the_host() -> None:
    network = build_network_on_meta(HostConfig(name="resnet20", neck="fpn", head="fasterrcnn", input=48, classes=3))
    # Stages at strides of 1, 2 and 4, and one more level.
    assert network.rpn.anchor_generator.sizes == ((8,), (16,), (32,), (64,))


@each_detector
@pytest.mark.parametrize(
    ("name", "width"), [("resnet18", 256), ("mobilenet_v3_small", 256), ("resnet20", 64), ("aff_resnet20_b3", 256)]
)
def test_it_is_256_wide_but_over_hosts_for_small_images_no_wider_than_the_last_stage(
    head: str, name: str, width: int
) -> None:
    network = build_network_on_meta(HostConfig(name=name, neck="fpn", head=head, input=64, classes=3))
    assert network.backbone.out_channels == width
    convs = [module for module in network.backbone.fpn.modules() if isinstance(module, nn.Conv2d)]
    assert {conv.out_channels for conv in convs} == {width}


def test_it_detects_over_a_small_hosts_stem_on_grey_images() -> None:
    network = detector("fcos", name="resnet20", channels=1, input=32)
    found = network.train()([image(1)], [target("fcos")])
    assert math.isfinite(sum(found.values()).item())
    assert network.transform.min_size == (32,)


def trainable(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_with_pretrained_weights_stem_and_first_stage_are_frozen_as_in_torchvision() -> None:
    host = HostConfig(name="fasterrcnn_resnet50_fpn", pretrained=True)
    network = build_on_meta(host, ())
    everything = {name for name, _ in network.named_parameters()}
    frozen = everything - trainable(network)
    prefixes = ("backbone.body.conv1.", "backbone.body.bn1.", "backbone.body.layer1.")
    assert frozen == {name for name in everything if name.startswith(prefixes)}
    assert trainable(build_on_meta(host.model_copy(update={"pretrained": False}), ())) == everything


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0"])
def test_over_a_host_of_five_stages_the_first_two_are_frozen(name: str) -> None:
    host = HostConfig(name=name, neck="fpn", head="retinanet", pretrained=True, input=SIZE)
    network = build_on_meta(host, ())
    frozen = {key for key, _ in network.named_parameters()} - trainable(network)
    # features.3 is the second stage's last block, of stride 4, in MobileNetV2; features.2 is in EfficientNet.
    last = {"mobilenet_v2": 3, "efficientnet_b0": 2}[name]
    assert {int(key.split(".")[3]) for key in frozen} == set(range(last + 1))


def test_parameters_are_those_that_are_trained() -> None:
    given = {"name": "resnet50", "neck": "fpn", "head": "fasterrcnn", "classes": 81, "pretrained": True}
    placement = {"layer1.*/conv2": {"module": "aw"}, "fpn/output*": [{"module": "se"}, {"module": "aw"}]}
    architecture = Architecture.from_dict({"host": given, "placement": placement})
    network = build_on_meta(architecture.host, architecture.items)
    expected = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert measure_cost(architecture).params == expected


def test_macs_are_those_of_backbone_pyramid_and_proposals() -> None:
    host = HostConfig(**TINY, head="fasterrcnn")
    with_pyramid = host_cost(host.model_copy(update={"head": "classify"})).macs - 4 * 256 * 3
    # On 16x16 down to 2x2 positions and one of 1x1: 3x3 from 256 to 256, then 3 scores and 12 box outputs.
    positions = sum(size * size for size in (16, 8, 4, 2, 1))
    assert host_cost(host).macs == with_pyramid + positions * (9 * 256 * 256 + 15 * 256)


def test_it_is_said_what_the_macs_leave_out() -> None:
    said = what_macs_leave_out(HostConfig(**TINY, head="maskrcnn"))
    assert said
    assert "once per proposal are left out" in said
    assert what_macs_leave_out(HostConfig(**TINY, head="fcos")) is None
    assert what_macs_leave_out(HostConfig(**TINY)) is None


@pytest.mark.parametrize(
    ("placement", "reason"),
    [
        ({"layer4.1/branch": {"module": "ge", "variant": "theta", "extent": "global"}}, "reads images of many sizes"),
        (
            {"layer4.1/conv2": {"module": "aa", "relative": True}},
            "the relative positions were built for maps up to 2x2",
        ),
    ],
)
def test_a_module_for_one_size_of_map_is_refused(placement: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=f"fasterrcnn reads images of many sizes, and .*|{reason}"):
        Architecture.from_dict({"host": {**TINY, "head": "fasterrcnn"}, "placement": placement})
    Architecture.from_dict({"host": TINY, "placement": placement})
