"""Networks as files of their own: they compute what was built, in both modes, and need torch alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from written_networks import answer, check, difference, filled, fits, images, load, write

from nas.export.code import CannotWriteError
from nas.export.code.network_file import Facts, write_network
from search_spaces import Architecture, HostConfig, find_sites, load_plugins, plugins
from search_spaces.attention import entry, names, registry
from search_spaces.fitting import make_spec

HOSTS: list[dict[str, Any]] = [
    {"name": "resnet18", "input": 32},
    {"name": "resnet50", "input": 32},
    {"name": "mobilenet_v2", "input": 32},
    {"name": "mobilenet_v3_small", "input": 64},
    {"name": "efficientnet_b0", "input": 32},
    {"name": "densenet121", "input": 32},
    {"name": "regnet_y_400mf", "input": 32},
    {"name": "convnext_tiny", "input": 32},
    {"name": "googlenet", "input": 64},
    {"name": "inception_v3", "input": 75},
    {"name": "shufflenet_v2_x0_5", "input": 32},
    {"name": "squeezenet1_1", "input": 32},
    {"name": "mnasnet0_5", "input": 32},
    {"name": "resnet20", "input": 8, "channels": 1},
    {"name": "preresnet164", "input": 8},
    {"name": "densenet_bc_100_12", "input": 8},
    {"name": "aff_resnet20_b1", "input": 8},
    {"name": "cifar_shufflenet_v2_x0_5", "input": 16},
    {"name": "mobilenet_v1", "input": 32},
    {"name": "timm/resnet18", "input": 32},
    {"name": "timm/efficientnet_b0", "input": 32},
]
FILLED = ["resnet18", "mobilenet_v3_small", "regnet_y_400mf", "googlenet", "resnet20"]
KINDS = [name for name in names() if entry(name).kind != "removal"]
TIMM = ["timm/se", "timm/eca", "timm/cbam", "timm/gc"]
TINY = {"name": "resnet20", "classes": 3, "input": 8, "channels": 1}


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host["name"])
def test_a_host_as_a_file_computes_what_it_computes(host: dict[str, Any], tmp_path: Path) -> None:
    if host["name"].startswith("timm/"):
        pytest.importorskip("timm")
    assert check(Architecture.of(HostConfig(classes=5, **host), {}), tmp_path).is_classifier


@pytest.mark.parametrize("host", [host for host in HOSTS if host["name"] in FILLED], ids=lambda host: host["name"])
def test_a_host_full_of_attention_as_a_file_computes_what_it_computes(host: dict[str, Any], tmp_path: Path) -> None:
    check(filled(HostConfig(classes=5, **host), seed=3), tmp_path)


@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("name", KINDS)
def test_every_module_as_a_file_computes_what_it_computes(name: str, init: str, tmp_path: Path) -> None:
    host = HostConfig(**TINY)
    knobs = {"reduction": 4} if "reduction" in entry(name).knobs else {}
    spec = make_spec({"module": name, "init": init, **knobs})
    fitting = [site.name for site in find_sites(host) if fits(host, site, spec)][::3]
    check(Architecture.of(host, {site: [spec] for site in fitting}), tmp_path)


@pytest.mark.parametrize("name", TIMM)
def test_layers_of_timm_are_written_from_their_traces(name: str, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    placement = {"*/branch": {"module": name}, "layer1/end": {"module": name, "init": "identity"}}
    check(Architecture.from_dict({"host": TINY, "placement": placement}), tmp_path)


SPECIAL: dict[str, dict[str, Any]] = {
    "weights of the block before": {"*/branch": {"module": "ba", "reduction": 4, "bridges": "previous_attention"}},
    "convolution of the block before": {"*/branch": {"module": "ba", "reduction": 4, "bridges": "previous_conv"}},
    "end of the block before": {"*/branch": {"module": "ba", "reduction": 4, "bridges": "previous_end"}},
    "one module for several sites": {"layer2.*/branch": {"module": "se", "reduction": 4, "share": "a"}},
    "a state along several sites": {"layer2.*/branch": {"module": "dia", "reduction": 4, "share": "a"}},
    "several at one site": {"layer3.0/branch": [{"module": "cbam", "reduction": 4}, {"module": "simam"}]},
    "inside of blocks and at the ends of stages": {"*/after_conv1": {"module": "eca"}, "*/end": {"module": "simam"}},
}


@pytest.mark.parametrize("placement", SPECIAL.values(), ids=SPECIAL.keys())
def test_what_crosses_blocks_is_written(placement: dict[str, Any], tmp_path: Path) -> None:
    check(Architecture.from_dict({"host": TINY, "placement": placement}), tmp_path)


@pytest.mark.parametrize("head", [{"head": "segment"}, {}], ids=["segmentation", "classification"])
def test_a_host_with_a_pyramid_is_written_without_the_parts_of_a_classifier(
    head: dict[str, Any], tmp_path: Path
) -> None:
    placement = {"*/branch": {"module": "se", "reduction": 4}, "fpn/merge*": {"module": "aff"}}
    host = {**TINY, "input": 16, "neck": "fpn", **head}
    file = check(Architecture.from_dict({"host": host, "placement": placement}), tmp_path)
    assert not file.is_classifier
    assert "register_model" not in file.text


def test_the_hosts_own_attention_removed_or_replaced_is_gone(tmp_path: Path) -> None:
    host = {"name": "mobilenet_v3_small", "classes": 3, "input": 32}
    file = check(Architecture.from_dict({"host": host, "placement": {"*/own": {"module": "remove"}}}), tmp_path)
    assert "self.fc1" not in file.text
    (tmp_path / "other").mkdir()
    check(Architecture.from_dict({"host": host, "placement": {"*/own": {"module": "eca"}}}), tmp_path / "other")


def test_blocks_of_the_same_code_share_a_class_with_arguments(tmp_path: Path) -> None:
    text = check(Architecture.of(HostConfig(name="resnet18", classes=3, input=32), {}), tmp_path).text
    # Eight blocks: five that keep the resolution, three that halve it.
    assert text.count("(nn.Module):") == 3
    assert "class BasicBlock(nn.Module):\n" in text
    assert "def __init__(self, in_channels: int, out_channels: int) -> None:" in text
    assert text.count("BasicBlockDownsample(in_channels=") == 3


def test_the_parts_that_timm_asks_for_fit_together(tmp_path: Path) -> None:
    architecture = Architecture.of(HostConfig(name="resnet18", classes=5, input=32), {})
    file, _ = write(architecture, tmp_path)
    network, x = load(tmp_path).BUILDER(weights="DEFAULT").eval(), images(architecture.host, 2)
    features = network.forward_features(x)
    assert torch.equal(answer(network, x), network.forward_head(features))
    assert features.shape == (2, 512, 1, 1)
    assert network.forward_head(features, pre_logits=True).shape == (2, network.num_features)
    last, maps = network.forward_stages(x)
    assert [each.shape[1] for each in maps] == list(file.channels) == [64, 128, 256, 512]
    assert [32 // each.shape[2] for each in maps] == list(file.strides)
    assert torch.equal(last, maps[-1])
    network.reset_classifier(7)
    assert (network(x).shape, network.num_classes) == ((2, 7), 7)
    network.reset_classifier(0)
    assert torch.equal(network(x), network.forward_head(features, pre_logits=True))


def test_the_builder_takes_weights_as_torchvisions_do(tmp_path: Path) -> None:
    architecture = Architecture.from_dict({"host": TINY, "placement": {"*/branch": {"module": "eca"}}})
    _, network = write(architecture, tmp_path)
    module, x = load(tmp_path), images(architecture.host, 2)
    entry_ = next(value for name, value in vars(module).items() if name.endswith("Weights") and name != "Weights")
    assert entry_.DEFAULT.meta == {"accuracy": 0.5}
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    for given in ("DEFAULT", "TRAINED", entry_.TRAINED, tmp_path / "weights.pth", tmp_path / "weights.safetensors"):
        assert torch.equal(answer(module.BUILDER(weights=given).eval(), x), answer(network.eval(), x))
    assert module.BUILDER(num_classes=4).eval()(x).shape == (2, 4)
    assert not torch.equal(module.BUILDER().eval()(x), network(x))


def test_images_are_brought_to_size_and_normalised(tmp_path: Path) -> None:
    write(Architecture.from_dict({"host": TINY, "placement": {}}), tmp_path)
    preprocess = load(tmp_path).Preprocess()
    grey = torch.full((1, 1, 8, 8), 51, dtype=torch.uint8)
    assert preprocess(grey).allclose(torch.tensor((51 / 255 - 0.5) / 0.25))
    assert preprocess(torch.rand(1, 20, 33)).shape == (1, 8, 8)


def test_a_detector_is_refused_with_the_reason() -> None:
    host = HostConfig(name="resnet18", neck="fpn", head="retinanet", classes=3, input=64)
    with pytest.raises(CannotWriteError, match="a retinanet is torchvision's detector"):
        write_network(Architecture.of(host, {}), Facts("", "", [], [], [], {}))


PLUGIN = '''
"""A module of a user's own."""

import math
{more}
import torch
from torch import nn

from search_spaces.attention import register


def scaled(x: torch.Tensor, by: float) -> torch.Tensor:
    """Return x times a number."""
    return x * by


@register("{name}", kind="gate", paper="none")
class Own(nn.Module):
    """Weighs channels by a scalar, differently for large maps."""

    def __init__(self, channels: int, *, power: int = 2) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.power = power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a map."""
        if x.shape[-1] > 4:
            x = scaled(x, {root})
        return x * self.scale
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Architecture]:
    """Return what loads a user's module for this test alone."""
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

    def make(name: str, more: str = "", root: str = "math.sqrt(self.power)") -> Architecture:
        (tmp_path / f"{name}_file.py").write_text(PLUGIN.format(name=name, more=more, root=root))
        load_plugins([tmp_path / f"{name}_file.py"])
        return Architecture.from_dict({"host": TINY, "placement": {"*/branch": {"module": name, "power": 3}}})

    return make


def test_a_users_own_module_is_copied_with_what_it_needs(plugin: Callable[..., Architecture], tmp_path: Path) -> None:
    text = check(plugin("own_of_networks"), tmp_path).text
    assert "def scaled(" in text
    assert "Own(16, power=3)" in text
    assert "@register" not in text


def test_a_module_that_needs_another_package_is_refused_with_its_name(plugin: Callable[..., Architecture]) -> None:
    architecture = plugin("numpy_of_networks", "from numpy import sqrt", "float(sqrt(self.power))")
    with pytest.raises(CannotWriteError, match=r"layer1_0__branch.*it needs the package numpy"):
        write_network(architecture, Facts("", "", [], [], [], {}))


def test_difference_tells_networks_apart(tmp_path: Path) -> None:
    architecture = Architecture.from_dict({"host": TINY, "placement": {}})
    _, network = write(architecture, tmp_path)
    x = images(architecture.host, 2)
    assert difference(answer(load(tmp_path).BUILDER().eval(), x), answer(network.eval(), x)) > 1e-2
