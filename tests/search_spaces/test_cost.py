"""What architectures cost: counts by arithmetic, and against the network that is really built."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from search_spaces import Architecture, Cost, HostConfig, find_sites, measure_cost
from search_spaces.attention import names
from search_spaces.build import build_on_meta
from search_spaces.cost import count_cost, host_cost, site_cost, typical_params
from search_spaces.fitting import make_spec

Place = Callable[..., Architecture]


def test_a_cifar_resnet_has_the_macs_of_its_convolutions_and_its_classifier(tiny: dict[str, Any]) -> None:
    macs = 64 * (1 * 16 * 9) + 64 * 3
    for size, before, width in ((64, 16, 16), (16, 16, 32), (4, 32, 64)):
        macs += size * before * width * 9 + 5 * size * width * width * 9
    assert host_cost(HostConfig(**tiny)).macs == macs


def test_se_costs_its_two_matrices(place: Place) -> None:
    added = measure_cost(place({"layer2.0/branch": {"module": "se", "reduction": 8}})) - measure_cost(place({}))
    assert added == Cost(params=2 * 32 * 4 + 4 + 32, macs=2 * 32 * 4)


def test_a_module_costs_by_the_resolution_where_it_stands(place: Place) -> None:
    bam = {"module": "bam", "reduction": 4, "branches": "spatial"}
    first, second = (measure_cost(place({f"layer{i}/end": bam})) - measure_cost(place({})) for i in (1, 2))
    # 1x1, two 3x3 and 1x1 convolutions, at 8x8 with 16 channels and at 4x4 with 32.
    assert first.macs == 64 * (16 * 4 + 2 * 4 * 4 * 9 + 4)
    assert second.macs == 16 * (32 * 8 + 2 * 8 * 8 * 9 + 8)


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf"])
def test_the_whole_is_what_is_counted_on_the_built_network(name: str, scaled_conv: str) -> None:
    placement: dict[str, Any] = {
        "*/conv1": {"module": scaled_conv}, "*/after_conv1": {"module": "eca"}, "*/merge": {"module": "aff"},
        "*/branch": [{"module": "ba", "reduction": 4}, {"module": "cbam", "reduction": 4}],
        "*/out": {"module": "ms_cam", "reduction": 4, "init": "identity"}, "*/end": {"module": "bam", "reduction": 4},
    }  # fmt: skip
    host = HostConfig(name=name, input=32)
    architecture = Architecture.from_dict({"host": host.model_dump(), "placement": placement})
    network = build_on_meta(host, architecture.items)
    assert count_cost(network, torch.empty(1, 3, 32, 32, device="meta")) == measure_cost(architecture)


def test_what_is_shared_has_its_parameters_once_and_its_macs_each_time(place: Place) -> None:
    bare = measure_cost(place({}))
    se = {"module": "se", "reduction": 8}
    shared = measure_cost(place({"layer2.*/branch": {**se, "share": "g"}})) - bare
    one = measure_cost(place({"layer2.0/branch": se})) - bare
    assert shared == Cost(one.params, 3 * one.macs)


def test_starting_as_the_identity_costs_one_parameter_a_module(place: Place) -> None:
    paper, identity = (place({"*/branch": {"module": "se", "init": init}}) for init in ("paper", "identity"))
    assert measure_cost(identity) - measure_cost(paper) == Cost(params=9, macs=0)


def test_counting_leaves_the_global_generator_alone(place: Place) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    measure_cost(place({"*/branch": {"module": "cbam"}}, input=12))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_site_costs_the_same_as_the_architecture_with_only_it(tiny: dict[str, Any]) -> None:
    host = HostConfig(**tiny)
    for name, module in (("layer1.0/branch", "ba"), ("layer2.1/merge", "iaff"), ("layer2/end", "bam")):
        spec = make_spec({"module": module, "reduction": 4})
        site = next(site for site in find_sites(host) if site.name == name)
        alone = Architecture.of(host, {name: [spec]})
        assert site_cost(host, site, spec) == measure_cost(alone) - host_cost(host)


@pytest.mark.parametrize("module", names())
def test_typical_parameters_are_known_for_every_module(module: str) -> None:
    has_any = module not in ("simam", "remove")
    assert typical_params(module, 256) >= typical_params(module, 64) >= has_any
    assert (typical_params(module, 256) > 0) == has_any


def test_typical_parameters_of_a_bridge_are_those_in_a_bottleneck(place: Place) -> None:
    bottleneck = {"name": "resnet50", "stem": "cifar", "channels": 3}
    added = measure_cost(place({"layer1.1/branch": {"module": "ba"}}, **bottleneck)) - measure_cost(
        place({}, **bottleneck)
    )
    assert typical_params("ba", 256) == added.params


def test_a_replacement_is_counted_by_what_it_adds(scaled_conv: str) -> None:
    assert typical_params(scaled_conv, 64) == 64
