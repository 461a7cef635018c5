"""torchvision's CNNs: their stems, their published weights, and what is no host."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from search_spaces import Architecture, HostConfig, InputError, find_sites
from search_spaces.hosts import build_host, host_names
from search_spaces.networks import build_network_on_meta, trace_host
from search_spaces.yaml_files import Document, validate

STEMS = {
    "alexnet": "features.0",
    "convnext_tiny": "features.0.0",
    "densenet121": "features.conv0",
    "googlenet": "conv1.conv",
    "inception_v3": "Conv2d_1a_3x3.conv",
    "mnasnet0_5": "layers.0",
    "shufflenet_v2_x0_5": "conv1.0",
    "squeezenet1_0": "features.0",
}


def host(**given: object) -> HostConfig:
    return validate(HostConfig, Document(given, "host"))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let torchvision load these weights: those that the test puts under `state`."""
    weights: dict[str, Any] = {}
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: weights["state"])
    return weights


def test_every_classification_cnn_of_torchvision_is_a_host() -> None:
    names = torchvision.models.list_models(module=torchvision.models)
    transformers = {name for name in names if name.startswith(("vit_", "swin_"))}
    assert set(names) - transformers <= set(host_names())


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_a_vision_transformer_is_told_that_it_has_no_sites(name: str) -> None:
    with pytest.raises(InputError, match=f"name: {name} is a vision transformer: it has no sites of these kinds"):
        host(name=name)


@pytest.mark.parametrize("name", STEMS)
def test_the_stem_for_small_images_changes_one_convolution_and_drops_the_pooling_after_it(name: str) -> None:
    bare, small = (build_network_on_meta(HostConfig(name=name, stem=stem)) for stem in ("imagenet", "cifar"))
    assert bare.state_dict().keys() == small.state_dict().keys()
    differ = [key for key, value in small.state_dict().items() if value.shape != bare.state_dict()[key].shape]
    assert differ in ([], [f"{STEMS[name]}.weight"])
    conv = small.get_submodule(STEMS[name])
    assert isinstance(conv, nn.Conv2d)
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    pools = [sum(isinstance(module, nn.MaxPool2d) for module in network.modules()) for network in (bare, small)]
    assert pools[0] - pools[1] == (0 if name.startswith(("convnext", "mnasnet")) else 1)


def test_a_host_whose_first_convolution_keeps_the_resolution_has_no_stem_for_small_images() -> None:
    with pytest.raises(InputError, match="stem: vgg16_bn has no cifar stem; allowed: imagenet"):
        host(name="vgg16_bn", stem="cifar")


@pytest.mark.parametrize("name", STEMS)
def test_images_may_have_another_number_of_channels(name: str) -> None:
    config = HostConfig(name=name, channels=2)
    colour = trace_host(HostConfig(name=name))
    grey = trace_host(config)
    assert grey.graph.python_code("self").src == colour.graph.python_code("self").src
    pairs = zip(list(grey.shapes.values())[1:], list(colour.shapes.values())[1:], strict=True)
    assert all(ours == theirs for ours, theirs in pairs)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_host_comes_without_its_auxiliary_classifiers_also_with_published_weights(
    name: str, published: dict[str, Any]
) -> None:
    size = HostConfig(name=name).input
    assert size == (299 if name == "inception_v3" else 224)
    whole = torchvision.models.get_model(name, init_weights=False, aux_logits=True)
    published["state"] = whole.state_dict()
    built = Architecture.from_dict({"host": {"name": name, "pretrained": True}}).build()
    kept = {key: value for key, value in whole.state_dict().items() if not key.lower().startswith("aux")}
    assert built.state_dict().keys() == kept.keys()
    assert all(torch.equal(value, kept[key]) for key, value in built.state_dict().items())
    # The published weights are for images that are normalised in another way, which the network does itself.
    whole.transform_input = True
    whole.eval()
    images = torch.rand(1, 3, 96, 96)
    assert torch.equal(built.eval()(images), whole(images))


def test_the_same_sites_are_found_whether_weights_are_loaded_or_not() -> None:
    for name in ("googlenet", "resnet18"):
        drawn, loaded = (HostConfig(name=name, pretrained=pretrained) for pretrained in (False, True))
        assert [site.name for site in find_sites(drawn)] == [site.name for site in find_sites(loaded)]
        assert (trace_host(drawn) is trace_host(loaded)) == (name == "resnet18")


@pytest.mark.parametrize(("name", "last"), [("squeezenet1_1", "classifier.1"), ("shufflenet_v2_x0_5", "fc")])
def test_published_weights_with_other_classes_draw_the_last_layer_only(
    name: str, last: str, published: dict[str, Any]
) -> None:
    published["state"] = torchvision.models.get_model(name).state_dict()
    built = build_host(HostConfig(name=name, pretrained=True, classes=7)).eval()
    for key, value in built.state_dict().items():
        assert key.startswith(f"{last}.") or torch.equal(value, published["state"][key])
    assert built(torch.rand(2, 3, 64, 64)).shape == (2, 7)


def test_images_that_a_host_is_not_built_for_are_refused() -> None:
    with pytest.raises(InputError, match="maxvit_t for 100x100 images: "):
        find_sites(HostConfig(name="maxvit_t", input=100))
    with pytest.raises(InputError, match=r"inception_v3: it cannot read 40x40 images \(at .*\): "):
        find_sites(HostConfig(name="inception_v3", input=40))
