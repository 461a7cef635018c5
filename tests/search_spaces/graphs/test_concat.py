"""What is placed where branches of a layer meet: a sum can be replaced, what is concatenated can be refined."""

from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces import Architecture, InputError, find_sites, measure_cost
from search_spaces.cost import count_cost
from search_spaces.hosts import host_names

INCEPTION_RESNET = {"name": "aff_inception_resnet20_b1", "classes": 3, "input": 8, "width": 0.25}
SQUEEZENET = {"name": "squeezenet1_1", "classes": 3, "input": 32}
VGG = {"name": "vgg11", "classes": 3, "input": 32}

pytestmark = pytest.mark.skipif(
    not {"aff_inception_resnet20_b1", "squeezenet1_1", "vgg11"} <= set(host_names()), reason="needs these hosts"
)


def place(host: dict[str, Any], placement: dict[str, Any]) -> Architecture:
    return Architecture.from_dict({"host": host, "placement": placement})


def images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_the_sum_of_two_convolutions_of_a_layer_is_replaced() -> None:
    architecture = place(INCEPTION_RESNET, {"layer2.0/concat": {"module": "aff", "reduction": 4}})
    network = architecture.build()
    given: list[Tensor] = []
    convs: dict[str, Tensor] = {}
    network.get_submodule("attention.layer2_0__concat.0").register_forward_hook(lambda _, x, __: given.extend(x))
    for name in ("layer2.0.conv1", "layer2.0.conv1_5x5"):
        network.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: convs.update({name: y}))
    network(images(8)).sum().backward()
    # Of equal operands the first is the branch.
    assert torch.equal(given[0], convs["layer2.0.conv1"])
    assert torch.equal(given[1], convs["layer2.0.conv1_5x5"])
    assert measure_cost(architecture).params == sum(p.numel() for p in network.parameters())


def test_gates_refine_what_the_replaced_sum_gives() -> None:
    modules = [{"module": "aff", "reduction": 4}, {"module": "se", "reduction": 4}]
    architecture = place(INCEPTION_RESNET, {"layer1.0/concat": modules})
    network = architecture.build()
    assert {name.split(".")[2] for name, _ in network.named_parameters() if name.startswith("attention.")} == {"0", "1"}
    assert measure_cost(architecture).macs == count_cost(network, images(8)[:1]).macs
    with pytest.raises(InputError, match=r"aff replaces the sum at layer1.0/concat, so it must come first there"):
        place(INCEPTION_RESNET, {"layer1.0/concat": modules[::-1]})
    with pytest.raises(InputError, match=r"only one module can replace what is at layer1.0/concat, got 2"):
        place(INCEPTION_RESNET, {"layer1.0/concat": [modules[0]] * 2})


def test_a_concatenation_is_refined_and_not_replaced() -> None:
    with pytest.raises(InputError, match=r"aff .* does not fit features.3/concat: a concatenation stands there"):
        place(SQUEEZENET, {"features.3/concat": {"module": "aff"}})
    by_one, by_other = (place(SQUEEZENET, {f"features.3/{name}": {"module": "se"}}) for name in ("concat", "out"))
    assert by_one.id == by_other.id
    assert by_one.build().state_dict().keys() == by_other.build().state_dict().keys()


def test_every_place_of_hosts_without_additions_is_filled_and_trained() -> None:
    modules: dict[str, dict[str, Any]] = {"conv": {"module": "aw", "reduction": 1}, "out": {"module": "simam"}}
    modules |= {kind: {"module": "eca"} for kind in ("after_conv", "concat", "end")}
    for host in (SQUEEZENET, VGG):
        sites = find_sites(place(host, {}).host)
        assert {site.place_kind for site in sites} <= modules.keys()
        architecture = place(host, {site.name: modules[site.place_kind] for site in sites})
        network = architecture.build()
        network(images(32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
        assert measure_cost(architecture).params == sum(p.numel() for p in network.parameters())


def test_there_is_no_block_before_the_first_that_reads_the_image() -> None:
    bridge = {"module": "ba", "bridges": "previous_conv", "reduction": 4}
    place({**VGG, "name": "vgg16"}, {"features.5/after_conv1": bridge})
    with pytest.raises(InputError, match="there is no earlier convolution before the block to bridge"):
        place({**VGG, "name": "vgg16"}, {"features.0/after_conv1": bridge})
