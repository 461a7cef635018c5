"""The built network: the host where nothing stands, and what is placed where it should be."""

import copy
import io
import itertools
import pickle
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import Architecture, HostConfig, InputError, Site, find_sites, measure_cost
from search_spaces.attention import entry, names
from search_spaces.cost import host_cost
from search_spaces.fitting import ModuleSpec, check_fit, make_spec
from search_spaces.hosts import build_host

Place = Callable[..., Architecture]
PLACES = ("conv", "after_conv", "branch", "merge", "out", "end")


def seeded_host(host: HostConfig, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_host(host)


def images(host: HostConfig, batch: int = 4) -> Tensor:
    return torch.randn(batch, host.channels, host.input, host.input, generator=torch.Generator().manual_seed(1))


def answer(network: nn.Module, x: Tensor) -> Tensor:
    """Return the output, with the same dropout and stochastic depth each time."""
    torch.manual_seed(2)
    return network(x)


def stir(network: nn.Module, part: str = "") -> None:
    """Move parameters away from where they start, so that no gate is at a special point."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(part):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def fitting(host: HostConfig, site: Site) -> list[ModuleSpec]:
    """Return every module that can stand at a site, with the mildest reduction."""
    mild = {name: {"reduction": 4} if "reduction" in entry(name).knobs else {} for name in names()}
    specs = [make_spec({"module": name, **knobs}) for name, knobs in mild.items()]
    return [spec for spec in specs if _fits(host, site, spec)]


def _fits(host: HostConfig, site: Site, spec: ModuleSpec) -> bool:
    try:
        check_fit(host, site, [spec])
    except InputError:
        return False
    return True


def filled(host: HostConfig, places: tuple[str, ...] = PLACES, seed: int = 0) -> Architecture:
    """Return an architecture with a random module at every site of these places."""
    return _filled(host, places, seed, tuple(names()))


@lru_cache
def _filled(host: HostConfig, places: tuple[str, ...], seed: int, _: tuple[str, ...]) -> Architecture:
    rng = np.random.default_rng(seed)
    placed = {}
    for site in find_sites(host):
        specs = fitting(host, site) if site.place_kind in places else []
        if specs:
            placed[site.name] = [specs[rng.integers(len(specs))]]
    return Architecture.of(host, placed)


def test_with_nothing_placed_it_is_the_host_bit_for_bit_in_both_modes(family: HostConfig) -> None:
    network, host, x = Architecture.of(family, {}).build(seed=5), seeded_host(family, 5), images(family)
    for _ in range(2):
        assert torch.equal(answer(network, x), answer(host, x))
    theirs = host.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    assert torch.equal(answer(network.eval(), x), answer(host.eval(), x))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf"])
def test_with_nothing_placed_the_gradients_are_the_hosts(name: str) -> None:
    config = HostConfig(name=name, input=16, classes=4)
    network, host, x = Architecture.of(config, {}).build(seed=5), seeded_host(config, 5), images(config)
    for each in (network, host):
        answer(each, x).logsumexp(1).sum().backward()
    theirs = dict(host.named_parameters())
    assert all(torch.equal(parameter.grad, theirs[key].grad) for key, parameter in network.named_parameters())


@pytest.mark.usefixtures("scaled_conv")
def test_every_place_of_a_family_can_be_filled_and_trained(family: HostConfig) -> None:
    architecture = filled(family)
    placed = {name.rpartition("/")[2].rstrip("0123456789") for name in architecture.placement}
    assert placed >= set(PLACES) - {"end"}
    network = architecture.build()
    assert sum(parameter.numel() for parameter in network.parameters()) == measure_cost(architecture).params
    answer(network, images(family)).logsumexp(1).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert answer(network.eval(), images(family)).isfinite().all()


@pytest.mark.usefixtures("scaled_conv")
@pytest.mark.parametrize("place", PLACES)
def test_each_place_alone_can_be_filled_and_changes_the_output(place: str, tiny: dict[str, Any]) -> None:
    host = HostConfig(**tiny)
    architecture = filled(host, (place,), seed=1)
    network, bare = architecture.build(), Architecture.of(host, {}).build()
    assert {name.rpartition("/")[2].rstrip("0123456789") for name in architecture.placement} == {place}
    stir(network, "attention" if place != "conv" else "layer")
    assert not torch.equal(answer(network, images(host)), answer(bare, images(host)))


def test_a_hosts_parameters_keep_their_names_and_its_weights_load(family: HostConfig) -> None:
    network, host = filled(family, PLACES[1:]).build(seed=1), seeded_host(family, 2)
    missing, unexpected = network.load_state_dict(host.state_dict(), strict=False)
    assert unexpected == []
    assert missing
    assert all(name.startswith("attention.") for name in missing)
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in host.state_dict().items())
    sizes = {name: p.numel() for name, p in network.named_parameters() if not name.startswith("attention.")}
    assert sizes == {name: parameter.numel() for name, parameter in host.named_parameters()}
    assert host_cost(family).params == sum(sizes.values())


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(place: Place) -> None:
    architecture = place({"*/branch": {"module": "cbam"}, "*/merge": {"module": "aff"}})
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, second, other = (architecture.build(seed).state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    drawn = [name for name in first if name.endswith("weight") and first[name].unique().numel() > 1]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_a_seed_gives_the_same_host_weights_under_every_placement(place: Place) -> None:
    bare = place({}).build(seed=4).state_dict()
    placed = place({"*/branch": {"module": "se"}, "*/end": {"module": "bam"}}).build(seed=4).state_dict()
    assert all(torch.equal(placed[name], bare[name]) for name in bare)


def test_a_module_starts_the_same_whatever_stands_elsewhere(place: Place) -> None:
    alone = place({"layer2.1/branch": {"module": "se"}}).build(seed=4).state_dict()
    among = place({"*/branch": {"module": "se"}, "*/merge": {"module": "aff"}}).build(seed=4).state_dict()
    mine = [name for name in alone if name.startswith("attention.")]
    assert mine
    assert all(torch.equal(among[name], alone[name]) for name in mine)
    others = [name for name in among if name.endswith("branch.0.squeeze.weight")]
    assert len({among[name].sum().item() for name in others}) == 9


def test_modules_that_start_as_the_identity_change_nothing_at_first(place: Place) -> None:
    bare = place({}).build(seed=1).eval()
    for module, selector in (("se", "*/branch"), ("ba", "*/branch"), ("aff", "*/merge"), ("bam", "*/end")):
        network = place({selector: {"module": module, "init": "identity", "reduction": 4}}).build(seed=1).eval()
        x = torch.randn(3, 1, 8, 8)
        torch.testing.assert_close(network(x), bare(x), rtol=0, atol=0)
        trained = place({selector: {"module": module, "reduction": 4}}).build(seed=1).eval()
        assert not torch.equal(trained(x), bare(x))


class Recorder:
    """Keeps what a module was given and what it answered."""

    def __init__(self, network: nn.Module, path: str) -> None:
        network.get_submodule(path).register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        self.given = [[t.detach().clone() for t in x] if isinstance(x, list) else x.detach().clone() for x in given]
        self.output = output.detach().clone()


@pytest.mark.parametrize(
    ("host", "site", "branch", "shortcut"),
    [
        ({}, "layer2.1/merge", "layer2.1.bn2", "layer2.0.relu"),
        ({"name": "resnet18"}, "layer2.0/merge", "layer2.0.bn2", "layer2.0.downsample.1"),
        (
            {"name": "regnet_x_400mf", "input": 32},
            "trunk_output.block2.block2-0/merge",
            "trunk_output.block2.block2-0.f.c.1",
            "trunk_output.block2.block2-0.proj.1",
        ),
    ],
)
def test_a_merge_receives_the_branch_and_then_the_shortcut(
    host: dict[str, Any], site: str, branch: str, shortcut: str, place: Place
) -> None:
    architecture = place({site: {"module": "aff"}}, **{"stem": "cifar", **host})
    network = architecture.build()
    merge = Recorder(network, f"attention.{site.replace('.', '_').replace('/', '__')}.0")
    operands = [Recorder(network, path) for path in (branch, shortcut)]
    network(images(architecture.host))
    assert torch.equal(merge.given[0], operands[0].output)
    assert torch.equal(merge.given[1], operands[1].output)


def test_a_bridge_reads_what_stands_at_the_convolutions_it_bridges(place: Place, zero: str) -> None:
    host = {"name": "resnet50", "stem": "imagenet", "input": 32}
    network = place({"layer1.1/branch": {"module": "ba"}, "layer1.1/after_conv1": {"module": zero}}, **host).build()
    bridge = Recorder(network, "attention.layer1_1__branch.0")
    relu = Recorder(network, "layer1.1.bn2")
    network(torch.randn(2, 1, 32, 32))
    x, (first, second) = bridge.given
    assert torch.count_nonzero(first) == 0
    assert torch.equal(second, relu.output.relu())
    assert x.shape == (2, 256, 8, 8)


def test_a_bridge_may_stand_at_an_inner_convolution(place: Place) -> None:
    host = {"name": "resnet50", "stem": "cifar"}
    network = place({"layer2.0/after_conv2": {"module": "ba", "reduction": 4}}, **host).build()
    bridge, conv = Recorder(network, "attention.layer2_0__after_conv2.0"), Recorder(network, "layer2.0.conv3")
    network(torch.randn(2, 1, 8, 8))
    assert bridge.given[0].shape == (2, 128, 4, 4)
    assert [source.shape for source in bridge.given[1]] == [(2, 128, 8, 8)]
    assert torch.equal(conv.given[0], bridge.output)


def test_a_replaced_convolution_keeps_its_name_and_its_weights(place: Place, scaled_conv: str) -> None:
    architecture = place({"layer2.0/conv1": {"module": scaled_conv}})
    network, bare = architecture.build(seed=3).eval(), place({}).build(seed=3).eval()
    x = images(architecture.host)
    assert torch.equal(network(x), bare(x))
    missing, unexpected = network.load_state_dict(place({}).build(seed=4).state_dict(), strict=False)
    assert (missing, unexpected) == (["layer2.0.conv1.scale"], [])
    assert torch.equal(network(x), place({}).build(seed=4).eval()(x))
    # 3 x 3 weights from 16 to 32 channels stay; 32 scales come on top, and no multiplication.
    assert measure_cost(architecture).params - measure_cost(place({})).params == 32
    assert measure_cost(architecture).macs == measure_cost(place({})).macs


def test_a_gate_at_a_branch_is_before_stochastic_depth() -> None:
    host = HostConfig(name="efficientnet_b0", input=32, classes=2)
    network = Architecture.from_dict(
        {"host": host.model_dump(), "placement": {"features.2.1/branch": {"module": "se"}}}
    ).build()
    gate = Recorder(network, "attention.features_2_1__branch.0")
    depth = Recorder(network, "features.2.1.stochastic_depth")
    network(images(host))
    assert torch.equal(depth.given[0], gate.output)


def test_several_modules_at_a_site_stand_in_the_order_given(place: Place) -> None:
    network = place({"layer1.0/branch": [{"module": "eca"}, {"module": "se"}, {"module": "cbam"}]}).build()
    seats = [Recorder(network, f"attention.layer1_0__branch.{i}") for i in range(3)]
    network(torch.randn(2, 1, 8, 8))
    assert [type(network.get_submodule(f"attention.layer1_0__branch.{i}")).__name__ for i in range(3)] == [
        "ECA",
        "SE",
        "CBAM",
    ]
    for before, after in itertools.pairwise(seats):
        assert torch.equal(after.given[0], before.output)


def test_a_stages_end_stands_after_the_out_of_its_last_block(place: Place) -> None:
    network = place({"layer1/end": {"module": "bam"}, "layer1.2/out": {"module": "se"}}).build()
    out, end = (Recorder(network, f"attention.layer1__end.{i}") for i in (0, 1))
    conv = Recorder(network, "layer2.0.conv1")
    network(torch.randn(2, 1, 8, 8))
    assert torch.equal(end.given[0], out.output)
    assert torch.equal(conv.given[0], end.output)


def test_a_gate_at_out_reads_what_the_replaced_merge_gives(place: Place) -> None:
    # Here the merge has no activation: merge and out are one tensor.
    host = {"name": "mobilenet_v2", "stem": "cifar"}
    placement = {"features.5/merge": {"module": "aff"}, "features.5/out": {"module": "eca"}}
    network = place(placement, **host).build()
    merge, gate = (Recorder(network, f"attention.features_5__{at}.0") for at in ("merge", "out"))
    following = Recorder(network, "features.6.conv.0.0")
    network(torch.randn(2, 1, 8, 8))
    assert torch.equal(gate.given[0], merge.output)
    assert torch.equal(following.given[0], gate.output)


def test_a_group_shares_one_set_of_parameters(place: Place) -> None:
    shared = place({"layer2.*/branch": {"module": "se", "share": "g"}})
    network = shared.build()
    added = [name for name, _ in network.named_parameters() if name.startswith("attention.")]
    assert {name.split(".")[1] for name in added} == {"layer2_0__branch"}
    one = place({"layer2.0/branch": {"module": "se"}})
    assert measure_cost(shared).params == measure_cost(one).params
    calls = []
    network.get_submodule("attention.layer2_0__branch.0").register_forward_hook(lambda *_: calls.append(1))
    network(torch.randn(2, 1, 8, 8))
    assert len(calls) == 3


def test_a_built_network_can_be_copied_pickled_and_saved(tiny: dict[str, Any]) -> None:
    network = filled(HostConfig(**tiny)).build().eval()
    x = torch.randn(2, 1, 8, 8)
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network)), torch.load(buffer, weights_only=False)]
    for each in copies:
        assert torch.equal(each(x), network(x))
        assert each.state_dict().keys() == network.state_dict().keys()
    stir(copies[0])
    assert not torch.equal(copies[0](x), network(x))


def test_a_built_network_can_be_exported(tiny: dict[str, Any]) -> None:
    network = filled(HostConfig(**tiny), ("branch", "merge", "end")).build().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (torch.randn(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(program.module()(x), network(x))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "regnet_x_400mf"])
def test_a_built_network_may_have_its_channels_last(name: str) -> None:
    host = HostConfig(name=name, input=16, classes=4)
    network, x = filled(host).build().eval(), images(host)
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    actual = network(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 8])
def test_hosts_run_on_images_smaller_than_their_strides(size: int) -> None:
    for name in ("resnet20", "mobilenet_v3_small", "regnet_y_400mf"):
        host = HostConfig(name=name, input=size, channels=1, classes=2)
        network = filled(host, ("branch", "out", "end")).build().eval()
        assert network(images(host)).shape == (4, 2)


def test_building_does_not_change_what_the_next_is_built_from(place: Place, scaled_conv: str) -> None:
    before = place({}).build().state_dict()
    filled(place({}).host).build()
    place({"*/conv1": {"module": scaled_conv}}).build()
    after = place({}).build().state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
