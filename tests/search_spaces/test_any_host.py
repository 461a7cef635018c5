"""Every torchvision CNN, and some of timm's, as hosts: what is placed works, and nothing placed changes nothing.

All are tried on the meta device, and a small one of each family with real numbers.
"""

import random
from functools import cache

import pytest
import torch

from search_spaces import Architecture, HostConfig, find_sites
from search_spaces.build import build_on_meta
from search_spaces.cost import host_cost, measure_cost, site_cost
from search_spaces.errors import InputError
from search_spaces.fitting import check_fit, make_spec
from search_spaces.hosts import build_host, host_entry, host_names
from search_spaces.hosts.imagenet import build_imagenet_host
from search_spaces.networks import build_network_on_meta
from search_spaces.sites.site_type import Site

TORCHVISION = [name for name in host_names() if host_entry(name).build is build_imagenet_host]

TIMM = [
    "timm/convnext_atto",
    "timm/cspresnet50",
    "timm/densenet121",
    "timm/dla46_c",
    "timm/dpn48b",
    "timm/ecaresnet26t",
    "timm/ese_vovnet19b_slim",
    "timm/ghostnet_050",
    "timm/hardcorenas_a",
    "timm/hrnet_w18_small",
    "timm/inception_resnet_v2",
    "timm/inception_v4",
    "timm/legacy_xception",
    "timm/mnasnet_small",
    "timm/mobilenetv3_small_050",
    "timm/regnety_002",
    "timm/res2net50_48w_2s",
    "timm/resnet10t",
    "timm/resnext26ts",
    "timm/seresnext26t_32x4d",
    "timm/skresnet18",
    "timm/tf_efficientnet_lite0",
    "timm/tf_efficientnetv2_b0",
    "timm/vgg11_bn",
]

ON_META = {
    "timm/densenet121",
    "timm/inception_resnet_v2",
    "timm/inception_v4",
    "timm/legacy_xception",
    "timm/vgg11_bn",
}
"""What is large, or like torchvision's."""

SMALL = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_v2_s": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "vgg11_bn": 32,
    **{name: 32 for name in TIMM if name not in ON_META},
}
"""A small host of each family, and the size of the images it is tried with. (MaxViT's windows want 224.)"""

TRIED = {"conv": "aw", "merge": "aff", "branch": "ba"}
"""The module that is tried first at a place; `eca` where it does not fit, and at the other places."""


def _config(name: str, **given: object) -> HostConfig:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    return HostConfig(name=name, **given)  # type: ignore[arg-type]


@cache
def _architecture(host: HostConfig) -> Architecture:
    """Return a random valid placement: a cheap module at one site of every place that the host has."""
    rng = random.Random(host.name)
    sites = list(find_sites(host))
    rng.shuffle(sites)
    placement: dict[str, dict[str, str]] = {}
    for place in sorted({site.place_kind for site in sites}):
        found = ((site, module) for site in sites if site.place_kind == place if (module := _fitting(host, site)))
        for site, module in found:
            placement[site.name] = {"module": module}
            break
    return Architecture.from_dict({"host": host.to_dict(), "placement": placement})


def _fitting(host: HostConfig, site: Site) -> str | None:
    for module in (TRIED.get(site.place_kind, "eca"), "eca"):
        try:
            check_fit(host, site, [make_spec({"module": module})])
        except InputError:
            continue
        return module
    return None


def _replaced(architecture: Architecture) -> tuple[str, ...]:
    """Return the blocks whose own attention is replaced."""
    places = {site.name: site for site in find_sites(architecture.host)}
    return tuple(f"{places[name].block}." for name, _ in architecture.items if places[name].place == "own")


@pytest.mark.parametrize("name", [*TORCHVISION, *TIMM])
def test_a_random_placement_in_any_host_is_built_and_costs_what_its_parts_cost(name: str) -> None:
    host = _config(name)
    sites = {site.name: site for site in find_sites(host)}
    assert len(sites) == len(find_sites(host))
    architecture = _architecture(host)
    assert {sites[name].place_kind for name, _ in architecture.items} == {site.place_kind for site in sites.values()}

    network = build_on_meta(host, architecture.items)
    bare = build_network_on_meta(host).state_dict()
    kept = network.state_dict()
    lost = {key for key in bare if key not in kept}
    assert all(key.startswith(_replaced(architecture)) for key in lost)
    assert all(kept[key].shape == bare[key].shape for key in bare if key not in lost)

    params = sum(parameter.numel() for parameter in network.parameters())
    assert params == measure_cost(architecture).params
    parts = [site_cost(host, sites[name], spec).params for name, specs in architecture.items for spec in specs]
    assert params == host_cost(host).params + sum(parts)

    if name not in SMALL:
        logits = network.train()(torch.empty(2, 3, host.input, host.input, device="meta"))
        assert logits.shape == (2, host.classes)
        logits.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_host_s_weights_serve_the_edited_network_which_with_nothing_placed_is_the_host_bit_for_bit(name: str) -> None:
    host = _config(name, input=SMALL[name], classes=5)
    bare = build_host(host)
    state = {key: value.clone() for key, value in bare.state_dict().items()}
    images = torch.rand(2, 3, host.input, host.input)

    nothing = Architecture.from_dict({"host": host.to_dict(), "placement": {}}).build(seed=0)
    nothing.load_state_dict(state)
    for mode in (True, False):
        torch.manual_seed(1)
        wanted = bare.train(mode)(images)
        torch.manual_seed(1)
        assert torch.equal(nothing.train(mode)(images), wanted)
    # The statistics that the pass in training mode left, among others.
    after = nothing.state_dict()
    assert all(torch.equal(after[key], value) for key, value in bare.state_dict().items())

    architecture = _architecture(host)
    network = architecture.build(seed=0)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert all(key.startswith(_replaced(architecture)) for key in unexpected)
    assert not set(missing) & set(state)
    loss = network.train()(images).square().mean()
    loss.backward()
    assert torch.isfinite(loss)
    reached = {key for key, parameter in network.named_parameters() if parameter.grad is not None}
    assert {key for key, _ in bare.named_parameters() if key not in unexpected} <= reached
