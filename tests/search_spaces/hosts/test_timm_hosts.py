"""timm's CNNs as hosts: their names, defaults, stems and weights."""

import sys
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import Architecture, HostConfig, InputError, find_sites
from search_spaces.hosts import build_host, host_entry, host_names, timm_host_names
from search_spaces.networks import build_network_on_meta
from search_spaces.yaml_files import Document, validate

timm: Any = pytest.importorskip("timm")


def host(**given: object) -> HostConfig:
    return validate(HostConfig, Document(given, "host"))


def test_timm_s_names_stand_apart() -> None:
    assert "timm/hrnet_w18" in timm_host_names()
    assert not any(name.startswith("timm/") for name in host_names())
    assert all(name.startswith("timm/") for name in timm_host_names())


def test_defaults_are_those_of_the_weights_that_timm_publishes() -> None:
    config = HostConfig(name="timm/inception_v4")
    assert (config.classes, config.input, config.stem) == (1000, 299, "imagenet")
    published = timm.get_pretrained_cfg("resnet50.a1_in1k")
    assert HostConfig(name="timm/resnet50.a1_in1k", pretrained=True).input == published.input_size[1]
    assert host_entry("timm/hrnet_w18").has_weights


def test_the_schema_of_a_host_admits_timm_s_names() -> None:
    builtin, others = HostConfig.model_json_schema()["properties"]["name"]["anyOf"]
    assert set(host_names()) <= set(builtin["enum"])
    assert others == {"pattern": "^timm/."}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "timm/hrnet_w19"}, r"name: unknown host 'timm/hrnet_w19'; .*did you mean 'timm/hrnet_w\d"),
        (
            {"name": "timm/vit_base_patch16_224"},
            "name: timm/vit_base_patch16_224 is a vision transformer: it has no sites",
        ),
        ({"name": "timm/mixer_b16_224"}, "name: timm/mixer_b16_224 has no sites of these kinds"),
        (
            {"name": "timm/resnet50.nothing", "pretrained": True},
            r"unknown weights 'timm/resnet50.nothing'; known: .*a1_in1k",
        ),
        ({"name": "timm/resnet50.a1_in1k"}, "names weights; write timm/resnet50, or add pretrained: true"),
        (
            {"name": "timm/tresnet_m", "stem": "cifar"},
            r"no cifar stem: its first convolution, .*, keeps the resolution",
        ),
        (
            {"name": "timm/resnetblur18", "stem": "cifar"},
            "no cifar stem: the max-pooling after its stem, maxpool.0, keeps",
        ),
        (
            {"name": "timm/nf_resnet26", "stem": "cifar"},
            r"no cifar stem: its first convolution, .*, is not a plain one",
        ),
    ],
)
def test_what_no_host_is_is_refused_with_what_is_near(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        host(**given)


def test_without_timm_its_names_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"name: timm's hosts need the package timm: pip install '.*\[timm\]'"):
        host(name="timm/a_name_that_was_not_looked_up_before")


@pytest.mark.parametrize(
    ("name", "conv", "pooled"),
    [
        ("timm/resnet18d", "conv1.0", True),
        ("timm/hrnet_w18_small", "conv1", False),
        ("timm/tf_efficientnet_b0", "conv_stem", False),
    ],
)
def test_the_stem_for_small_images_keeps_parameter_names(name: str, conv: str, pooled: bool) -> None:
    bare, small = (build_network_on_meta(HostConfig(name=name, stem=stem, input=32)) for stem in ("imagenet", "cifar"))
    assert bare.state_dict().keys() == small.state_dict().keys()
    first = small.get_submodule(conv)
    assert isinstance(first, nn.Conv2d)
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    pools = [sum(isinstance(module, nn.MaxPool2d) for module in network.modules()) for network in (bare, small)]
    assert pools[0] - pools[1] == int(pooled)
    strides = [
        find_sites(HostConfig(name=name, stem=stem, input=64))[0].resolution[0] for stem in ("imagenet", "cifar")
    ]
    assert strides[1] == strides[0] * (4 if pooled else 2)


def test_published_weights_go_unchanged_into_the_edited_network(monkeypatch: pytest.MonkeyPatch) -> None:
    make = timm.create_model
    published = make("resnet10t", num_classes=1000).state_dict()

    def load(name: str, pretrained: bool, **settings: Any) -> nn.Module:
        network: nn.Module = make(name, **settings)
        if pretrained:
            network.load_state_dict(published)
        return network

    monkeypatch.setattr(timm, "create_model", load)
    given = {"host": {"name": "timm/resnet10t", "pretrained": True}, "placement": {"*/branch": {"module": "eca"}}}
    state = Architecture.from_dict(given).build().state_dict()
    assert all(torch.equal(state[key], value) for key, value in published.items())
    assert {key.split(".")[0] for key in state.keys() - published.keys()} == {"attention"}


def test_classes_and_channels_are_those_that_are_asked_for() -> None:
    network = build_host(HostConfig(name="timm/resnet10t", classes=7, channels=1, input=32))
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 7)
