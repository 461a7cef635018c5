"""An architecture becomes a detector with what stands in it, its weights and what of them is frozen."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from quick_recipes import setting
from torch import nn

from search_spaces import Architecture, InputError
from trials.detection.backbone_weights import load_backbone
from trials.detection.freezing import fixed_batch_norms, freeze_stages
from trials.detection.to_detector import with_head
from trials.retrain.task import Setting
from trials.weights import save_weights


def given(architecture: Architecture) -> Setting:
    return setting(architecture, Path())


def test_a_classifier_keeps_its_placement_and_takes_the_classes_of_the_data(small: Architecture) -> None:
    detector, left = with_head(given(small), "fasterrcnn", 4, 96)
    assert left == {}
    assert detector.placement == small.placement
    host = detector.host
    assert (host.name, host.width, host.neck, host.head) == ("resnet18", 0.25, "fpn", "fasterrcnn")
    assert (host.classes, host.input) == (4, 96)
    assert with_head(given(detector), "fasterrcnn", 9, 96)[0] == detector  # one with the head keeps its classes


def test_a_pyramid_that_is_there_is_kept(small: Architecture) -> None:
    proxy = Architecture.from_dict({
        "host": {"name": "resnet18", "width": 0.25, "input": 64, "neck": "fpn"},
        "placement": {"fpn/merge2": {"module": "aff", "reduction": 4}, "fpn/output1": {"module": "eca"}},
    })  # fmt: skip
    assert with_head(given(proxy), "maskrcnn", 4, 64)[0].placement == proxy.placement
    assert with_head(given(proxy), "segment", 4, 64)[0].placement == proxy.placement
    # RetinaNet leaves the finest level out: what is level 2 here is level 1 there.
    with pytest.raises(
        InputError, match=r"2 of the 2 sites do not fit resnet18 with retinanet, such as fpn/.*`partial: true`"
    ):
        with_head(given(proxy), "retinanet", 4, 64)
    kept, left = with_head(given(proxy), "retinanet", 4, 64, partial=True)
    assert (list(left), kept.placement) == (["fpn/merge2", "fpn/output1"], {})
    with pytest.raises(InputError, match=r"resnet18 has `head: fasterrcnn`, the recipe trains retinanet"):
        with_head(given(with_head(given(small), "fasterrcnn", 4, 64)[0]), "retinanet", 4, 64)


def test_grey_hosts_are_refused() -> None:
    grey = Architecture.from_dict({"host": {"name": "resnet20", "channels": 1}})
    with pytest.raises(InputError, match="images are read in RGB, the host has `channels: 1`"):
        with_head(given(grey), "fasterrcnn", 4, 64)


def test_published_weights_are_not_fetched_where_a_backbone_is_given() -> None:
    pretrained = Architecture.from_dict({"host": {"name": "resnet18", "pretrained": True}})
    assert with_head(given(pretrained), "fasterrcnn", 4, 64)[0].host.pretrained
    own = replace(given(pretrained), backbone=Path("weights.safetensors"))
    assert not with_head(own, "fasterrcnn", 4, 64)[0].host.pretrained


def disturbed(model: nn.Module) -> nn.Module:
    """Return a network whose every parameter and statistic is another than at the start."""
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.1 + 0.05)
    return model


def features(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Return what comes out of the last stage's last block."""
    seen = []
    name = next(name for name, _ in model.named_modules() if name.endswith("layer4.1.relu"))
    handle = model.get_submodule(name).register_forward_hook(lambda *given: seen.append(given[2]))
    part = model.get_submodule("backbone") if hasattr(model, "backbone") else model
    with torch.inference_mode():
        part.eval()(image)
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize("head", ["fasterrcnn", "segment"])
def test_a_backbone_computes_what_its_classifier_did(small: Architecture, tmp_path: Path, head: str) -> None:
    classifier = disturbed(small.build())
    save_weights(classifier, tmp_path / "weights.safetensors", {})
    detector, _ = with_head(given(small), head, 4, 64)  # type: ignore[arg-type]
    network = detector.build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_backbone(network, detector, tmp_path)  # the folder, or the file in it
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(features(network, image), features(classifier, image))
    outside = [name for name in before if ".body." not in f".{name}" and "attention." not in name]
    assert outside
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in outside)


def test_a_pyramid_of_the_same_widths_is_taken_too(small: Architecture, tmp_path: Path) -> None:
    detector, _ = with_head(given(small), "fasterrcnn", 4, 64)
    trained = disturbed(detector.build())
    save_weights(trained, tmp_path / "weights.safetensors", {})
    other, _ = with_head(given(small), "maskrcnn", 7, 64)
    network = other.build()
    load_backbone(network, other, tmp_path / "weights.safetensors")
    for name, value in network.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, trained.state_dict()[name]), name


def test_weights_of_another_network_are_refused(small: Architecture, tmp_path: Path) -> None:
    bare = Architecture(small.host)
    save_weights(bare.build(), tmp_path / "bare.safetensors", {})
    detector, _ = with_head(given(small), "fasterrcnn", 4, 64)
    with pytest.raises(InputError, match=r"bare.safetensors: .* not of this backbone .* such as attention.layer1"):
        load_backbone(detector.build(), detector, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match=r"none.safetensors: no such file of weights"):
        load_backbone(detector.build(), detector, tmp_path / "none.safetensors")


def frozen(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


def test_stages_are_frozen_from_the_image_on(small: Architecture) -> None:
    detector, _ = with_head(given(small), "fasterrcnn", 4, 64)
    network = detector.build()
    names = {name for name, _ in network.named_parameters()}
    host_part = ("backbone.body.conv1.", "backbone.body.bn1.", "backbone.body.layer1.")
    stage_1 = {name for name in names if name.startswith(host_part)}
    attention_1 = {name for name in names if name.startswith("backbone.attention.layer1")}
    assert attention_1
    freeze_stages(network, detector, 1, attention=False)
    assert frozen(network) == stage_1
    freeze_stages(network, detector, 1, attention=True)
    assert frozen(network) == stage_1 | attention_1
    freeze_stages(network, detector, 0, attention=True)
    assert {name for name in frozen(network) if ".body." in name} == set()
    with pytest.raises(InputError, match="`frozen_stages: 5` is more than the 4 stages of resnet18"):
        freeze_stages(network, detector, 5, attention=False)


def test_batch_norms_that_are_kept_are_those_of_the_host_or_all(small: Architecture) -> None:
    detector, _ = with_head(given(small), "fasterrcnn", 4, 64)
    network = detector.build()
    norms = {name for name, each in network.named_modules() if isinstance(each, nn.BatchNorm2d)}
    own = {name for name in norms if name.startswith("backbone.body.")}
    assert own < norms  # BAM has some
    assert fixed_batch_norms(network, detector, "train", attention=True) == []
    kept = fixed_batch_norms(network, detector, "keep", attention=False)
    assert {name for name, each in network.named_modules() if each in kept} == own
    assert frozen(network) == set()
    assert len(fixed_batch_norms(network, detector, "freeze", attention=True)) == len(norms)
    assert frozen(network) == {f"{name}.{each}" for name in norms for each in ("weight", "bias")}
