"""What a bridge reads of the block before it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Architecture, find_sites, measure_cost

Place = Callable[..., Architecture]
BOTTLENECK = {"name": "resnet50", "stem": "cifar"}


class Kept:
    """Keeps what a module of the network was given and what it answered."""

    def __init__(self, network: nn.Module, path: str) -> None:
        network.get_submodule(path).register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, given: tuple[Any, ...], answer: Tensor) -> None:
        self.given, self.answer = given, answer


def run(network: nn.Module, *paths: str) -> list[Kept]:
    kept = [Kept(network, path) for path in paths]
    network.eval()(torch.randn(2, 1, 8, 8))
    return kept


def ba(bridges: str, **more: Any) -> dict[str, Any]:
    return {"module": "ba", "bridges": bridges, "reduction": 4, **more}


def test_the_previous_convolution_is_read_after_its_norm_and_before_its_attention(place: Place) -> None:
    network = place({"*/branch": ba("previous_conv")}).build()
    norm, bridge = run(network, "layer1.1.bn2", "attention.layer1_2__branch.0.weigh")
    assert torch.equal(bridge.given[1][0], norm.answer)


def test_the_previous_end_is_the_blocks_input_after_what_stands_there(place: Place) -> None:
    placement = {"layer2.0/branch": ba("previous_end"), "layer1/end": {"module": "se", "reduction": 4}}
    network = place(placement).build()
    gate, conv, bridge = run(network, "attention.layer1__end.0", "layer2.0.conv1", "attention.layer2_0__branch.0.weigh")
    assert torch.equal(bridge.given[1][0], gate.answer)
    assert torch.equal(bridge.given[1][0], conv.given[0])


def test_the_first_block_reads_the_stem(place: Place) -> None:
    for bridges in ("previous_conv", "previous_end"):
        network = place({"layer1.0/branch": ba(bridges)}).build()
        stem, bridge = run(network, "layer1.0.conv1", "attention.layer1_0__branch.0.weigh")
        assert torch.equal(bridge.given[1][0], stem.given[0])


def test_previous_attention_is_the_weights_that_the_last_bridge_there_gave(place: Place) -> None:
    placement = {"layer1.1/branch": [ba("all"), {"module": "eca"}], "layer1.2/branch": ba("previous_attention")}
    network = place(placement).build()
    earlier, later = run(network, "attention.layer1_1__branch.0.weigh", "attention.layer1_2__branch.0.weigh")
    assert torch.equal(later.given[1][0], earlier.answer[:, :, None, None])


def test_reading_a_modules_weights_changes_neither_its_output_nor_its_parameters_names(place: Place) -> None:
    alone, read = (
        place({"layer1.1/branch": ba("all"), "layer1.2/branch": ba(bridges, init="identity")}).build(seed=2).eval()
        for bridges in ("last", "previous_attention")
    )
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(alone(x), read(x))
    mine, theirs = ([n for n, _ in network.named_parameters() if "layer1_1" in n] for network in (alone, read))
    assert mine == theirs


@pytest.mark.parametrize("site", ["layer1.0/branch", "layer2.1/branch"])
def test_where_no_bridge_stands_before_previous_attention_is_all_ones(site: str, place: Place) -> None:
    network = place({site: ba("previous_attention"), "layer2.0/branch": {"module": "se", "reduction": 4}}).build()
    path = site.replace(".", "_").replace("/", "__")
    (bridge,) = run(network, f"attention.{path}.0.weigh")
    assert torch.equal(bridge.given[1][0], torch.ones(2, 16 if "layer1" in site else 32, 1, 1))


def test_all_three_have_the_width_of_the_block_before_also_across_stages(place: Place) -> None:
    sites = {site.name: site for site in find_sites(place({}, **BOTTLENECK).host)}
    for name, width in (("layer1.0/branch", 64), ("layer1.1/branch", 256), ("layer2.0/branch", 256)):
        assert sites[name].previous_conv.channels == sites[name].previous_end.channels == width
    costs = {
        bridges: measure_cost(place({"*/branch": ba(bridges)}, **BOTTLENECK))
        for bridges in ("previous_conv", "previous_end", "previous_attention")
    }
    assert len({cost.params for cost in costs.values()}) == 1


def test_the_three_are_three_architectures(place: Place) -> None:
    ids = {place({"*/branch": ba(b)}).id for b in ("all", "previous_conv", "previous_end", "previous_attention")}
    assert len(ids) == 4


def test_a_chain_of_previous_attention_trains_and_exports(place: Place) -> None:
    network = place({"*/branch": ba("previous_attention", init="identity")}).build()
    network(torch.randn(4, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    x = torch.randn(2, 1, 8, 8)
    program = torch.export.export(network.eval(), (x,))
    torch.testing.assert_close(program.module()(x), network(x))


def test_a_module_whose_output_its_backward_pass_needs_may_stand_before_an_addition_in_place(place: Place) -> None:
    # torchvision's ResNets add in place, which a bare sigmoid's gradient would not survive.
    network = place({"layer1.0/branch": {"module": "se", "reduction": 4}}, **BOTTLENECK).build()
    network.set_submodule("attention.layer1_0__branch.0", nn.Sigmoid())
    network(torch.randn(2, 1, 8, 8)).sum().backward()
