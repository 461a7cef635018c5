"""The attention that a host already has: found, kept, replaced, removed, and counted."""

from typing import Any

import pytest
import torch
from tiny_hosts import SE, Coordinate, HardSwish, Net, Residual, Spatial, conv, sites_of, traced
from torch import Tensor, nn

from search_spaces import Architecture, HostConfig, InputError, SearchSpace, Site, find_sites, measure_cost
from search_spaces.cost import count_cost, host_cost
from search_spaces.graphs.own_attention import region

SMALL = {"name": "mobilenet_v3_small", "classes": 4, "input": 32}
SQUEEZE = "features.1.block.1"
"""The host's own in the first block: two convolutions with biases, from 16 to 8 channels and back."""


def place(placement: dict[str, Any], **host: Any) -> Architecture:
    return Architecture.from_dict({"host": {**SMALL, **host}, "placement": placement})


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def own_of(network: nn.Module) -> list[str]:
    return [name for name, site in sites_of(network).items() if site.place_kind == "own"]


@pytest.mark.parametrize(
    "attention",
    [SE(4), Coordinate(4), nn.Sequential(SE(4), Spatial())],
    ids=["channels", "rows and columns", "channels, then positions"],
)
def test_it_is_what_computes_x_times_f_of_x_and_is_one_site(attention: nn.Module) -> None:
    network = Net(Residual(*conv(4, 4), attention, *conv(4, 4)), Residual(*conv(4, 4)))
    graph, sites = traced(network), sites_of(network)
    assert own_of(network) == ["body.0/own"]
    own = sites["body.0/own"]
    assert own.replaces_from == sites["body.0/after_conv1"].target
    nodes = region(graph, graph.node(own.replaces_from), graph.node(own.target))
    called = {str(node.target) for node in nodes if node.op == "call_module"}
    layers = {name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    assert called == {name for name in layers if name.startswith("body.0.branch.3")}
    # Its convolutions are none of the block's.
    assert [site.place for name, site in sites.items() if name.startswith("body.0/conv")] == ["conv1", "conv2"]


def test_hard_swish_is_none_and_its_addition_is_no_merge() -> None:
    network = Net(Residual(*conv(4, 4), HardSwish(), *conv(4, 4)), Residual(*conv(4, 4)))
    assert own_of(network) == []
    assert [name for name in sites_of(network) if "merge" in name] == ["body.0/merge", "body.1/merge"]


def test_what_is_computed_from_more_than_one_map_cannot_be_replaced() -> None:
    class Gated(nn.Module):
        """The weights of the one map are computed from both."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = conv(4, 4), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.conv(x)
            return x + hidden * self.gate(torch.cat([x, hidden], dim=1)).sigmoid()

    network = Net(Gated(), Gated())
    assert own_of(network) == []
    assert [name for name in sites_of(network) if name.startswith("body.0/conv")] == ["body.0/conv1"]


@pytest.mark.parametrize(
    ("name", "number"),
    # EfficientNet has it in all 16 blocks, MobileNetV3-Large in 3 + 5 of 15, RegNetY in every one of 1 + 3 + 6 + 6.
    [("efficientnet_b0", 16), ("mobilenet_v3_large", 8), ("regnet_y_400mf", 16), ("regnet_x_400mf", 0)],
)
def test_a_familys_own_is_found_in_its_blocks(name: str, number: int) -> None:
    assert sum(site.place == "own" for site in find_sites(name)) == number


def test_a_bridge_there_reads_the_convolutions_before_it() -> None:
    sites = {site.name: site for site in find_sites("efficientnet_b0")}
    # Depthwise and pointwise only; then expansion, depthwise, pointwise: the squeeze reads the depthwise output.
    assert sites["features.1.0/own"].sources == ()
    (expansion,) = sites["features.2.0/own"].sources
    assert expansion.node == sites["features.2.0/after_conv1"].target


def test_with_none_placed_it_stays() -> None:
    network, bare = place({"*/own": {"module": "none"}}).build(seed=3), place({}).build(seed=3)
    assert network.state_dict().keys() == bare.state_dict().keys()
    assert torch.equal(network.eval()(images()), bare.eval()(images()))


def test_removed_it_is_gone_with_its_parameters_and_the_rest_computes_as_without_it() -> None:
    bare, network = (place(placed).build(seed=3).eval() for placed in ({}, {"features.1/own": {"module": "remove"}}))
    gone = bare.state_dict().keys() - network.state_dict().keys()
    assert gone == {f"{SQUEEZE}.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")}
    assert not network.state_dict().keys() - bare.state_dict().keys()
    # 1 everywhere in the place of its weights is the same as nothing.
    with torch.no_grad():
        bare.get_submodule(f"{SQUEEZE}.fc2").weight.zero_()
        bare.get_submodule(f"{SQUEEZE}.fc2").bias.fill_(3)
    torch.testing.assert_close(network(images()), bare(images()))


def test_the_cost_is_the_hosts_less_its_own_plus_the_modules() -> None:
    removed, replaced = place({"features.1/own": {"module": "remove"}}), place({"features.1/own": {"module": "se"}})
    host = host_cost(removed.host)
    # 16 x 8 weights each way, 8 + 16 biases; one product per weight.
    assert measure_cost(removed).params == host.params - (2 * 16 * 8 + 8 + 16)
    assert measure_cost(removed).macs == host.macs - 2 * 16 * 8
    # SE of reduction 16 has one hidden channel: 16 + 16 weights, 1 + 16 biases.
    assert measure_cost(replaced).params == measure_cost(removed).params + 32 + 17
    assert measure_cost(replaced).macs == measure_cost(removed).macs + 32


@pytest.mark.parametrize(
    "modules",
    [
        {"module": "remove"},
        {"module": "ba", "reduction": 4},
        {"module": "dia"},
        [{"module": "se", "reduction": 2}, {"module": "eca"}],
        {"module": "eca", "share": "all"},
    ],
    ids=str,
)
def test_whatever_replaces_it_costs_what_the_built_network_has_and_trains(modules: Any) -> None:
    architecture = place({f"features.{i}/own": modules for i in (5, 6)})
    network = architecture.build()
    cost = measure_cost(architecture)
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())
    if modules != {"module": "dia"}:  # Its step without a state costs less than the next ones.
        assert cost.macs == count_cost(network, images(1)).macs
    network.train()(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_modules_in_its_place_read_what_it_read() -> None:
    network = place({"features.5/own": [{"module": "eca"}, {"module": "se"}]}).build()
    given: dict[str, Tensor] = {}
    for path in ("attention.features_5__own.0", "attention.features_5__own.1", "features.5.block.3.0"):
        network.get_submodule(path).register_forward_hook(
            lambda _, inputs, output, path=path: given.update({path: inputs[0], f"{path} answers": output})
        )
    read: list[Tensor] = []
    network.get_submodule("features.5.block.1.2").register_forward_hook(lambda _, __, output: read.append(output))
    network(images())
    first, second, project = (given[key] for key in list(given)[::2])
    assert torch.equal(first, read[0])
    assert torch.equal(second, given["attention.features_5__own.0 answers"])
    assert torch.equal(project, given["attention.features_5__own.1 answers"])


def test_a_gate_before_the_removed_is_the_gate_in_its_place() -> None:
    before = place({"features.5/after_conv2": {"module": "se"}, "features.5/own": {"module": "remove"}})
    instead = place({"features.5/own": {"module": "se"}})
    assert before.id == instead.id
    ours, theirs = before.build(seed=2).eval(), instead.build(seed=2).eval()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(ours(images()), theirs(images()))
    kept = place({"features.5/after_conv2": {"module": "se"}})
    assert len({kept.id, instead.id, place({}).id, place({"features.5/own": {"module": "remove"}}).id}) == 4


def test_where_a_bridge_reads_the_tensor_it_matters_which_of_the_two_it_is() -> None:
    bridge = {"features.5/branch": {"module": "ba", "reduction": 4}}
    before = place({"features.5/after_conv2": {"module": "se"}, "features.5/own": {"module": "remove"}, **bridge})
    instead = place({"features.5/own": {"module": "se"}, **bridge})
    assert before.id != instead.id
    ours, theirs = before.build(seed=2).eval(), instead.build(seed=2).eval()
    assert not torch.equal(ours(images()), theirs(images()))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([{"module": "remove"}, {"module": "se"}], "remove puts nothing at features.5/own; leave it out"),
        ({"module": "remove", "share": "a"}, "with a share: it puts nothing there that could be shared"),
        ({"module": "aff"}, "aff .* does not fit features.5/own; it goes to: merge"),
        ({"module": "aw"}, "aw .* does not fit features.5/own; it goes to: conv"),
        ({"module": "remove", "init": "identity"}, "Remove cannot start as the identity"),
    ],
)
def test_what_does_not_fit_is_refused(modules: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        place({"features.5/own": modules})


@pytest.mark.parametrize("selector", ["*/branch", "*/after_conv1", "*/out"])
def test_it_is_removed_only_where_there_is_one(selector: str) -> None:
    with pytest.raises(InputError, match=r"remove .* does not fit .*; it goes to: own"):
        place({selector: {"module": "remove"}})


def test_a_bridge_where_no_convolution_is_before_it_is_refused() -> None:
    with pytest.raises(InputError, match="no earlier convolution in the block to bridge"):
        place({"features.1/own": {"module": "ba", "reduction": 4}})


def test_a_space_that_could_place_one_module_in_two_ways_is_refused() -> None:
    own = {"at": "features.5/own", "modules": {"none": {}, "remove": {}, "eca": {}}}
    gate = {"at": "features.5/after_conv2", "modules": {"none": {}, "eca": {}}}
    with pytest.raises(InputError, match=r"features.5/own and features.5/after_conv2 are one tensor .* eca may stand"):
        SearchSpace.from_dict({"host": SMALL, "choices": [own, gate]})
    only_removed = {"at": "features.5/own", "modules": {"none": {}, "remove": {}}}
    space = SearchSpace.from_dict({"host": SMALL, "choices": [only_removed, gate]})
    ids = {space.decode((i, j)).id for i in range(2) for j in range(2)}
    assert len(ids) == space.size == 4


def test_se_resnet_ends_its_branch_with_it() -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("seresnet18")
    sites = sites_of(network, 32)
    own: Site = sites["layer1.0/own"]
    assert own.target == sites["layer1.0/branch"].target
    assert own.same_after == "layer1.0/branch"
    # What a later block bridges is the convolution, before its attention.
    assert sites["layer1.1/branch"].previous_conv
    assert sites["layer1.1/branch"].previous_conv.node == own.replaces_from


@pytest.mark.parametrize("name", ["ecaresnet26t", "gcresnext26ts", "ghostnet_050", "ese_vovnet19b_slim", "rexnet_100"])
def test_timms_attention_layers_are_found(name: str) -> None:
    timm = pytest.importorskip("timm")
    # In each of 2 + 2 + 2 + 2 bottlenecks, in 7 of 16 and in 13 of 16 blocks, in each of 4 blocks.
    wanted = {"ecaresnet26t": 8, "gcresnext26ts": 8, "ghostnet_050": 7, "rexnet_100": 13, "ese_vovnet19b_slim": 4}
    sites = sites_of(timm.create_model(name), 64).values()
    assert sum(site.place_kind == "own" for site in sites) == wanted[name]


def test_the_papers_counts_of_bridges_in_its_place() -> None:
    efficient = Architecture.from_dict(
        {
            "host": {"name": "efficientnet_b0"},
            "placement": {"features.[2-7].*/own": {"module": "ba", "reduction": 6, "activation": "silu"}},
        }
    )
    # 5,288,548 of the host; per block, of C channels expanded (S of its own squeeze): - 2 C S - S - C, and for the
    # bridge with R = C // 6 hidden channels two layers C x R with a norm of 2 R each, and one of R x C.
    blocks = [(96, 4), *[(144, 6)] * 2, *[(240, 10)] * 2, *[(480, 20)] * 3, *[(672, 28)] * 3, *[(1152, 48)] * 4]
    change = sum(-2 * c * s - s - c + 3 * c * (c // 6) + 4 * (c // 6) for c, s in blocks)
    assert measure_cost(efficient).params == 5_288_548 + change == 8_418_640
    assert HostConfig(name="efficientnet_b0") == efficient.host
