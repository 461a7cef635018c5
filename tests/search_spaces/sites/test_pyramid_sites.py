"""The sites of a pyramid: what stands where, what is refined and replaced, and what does not fit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces import Architecture, HostConfig, InputError, find_sites, measure_cost
from search_spaces.attention import entry, names
from search_spaces.fitting import check_fit, make_spec

TINY = {"name": "resnet20", "classes": 3, "input": 8, "channels": 1, "neck": "fpn"}


def place(placement: dict[str, Any], **host: Any) -> Architecture:
    return Architecture.from_dict({"host": {**TINY, **host}, "placement": placement})


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def stir(network: nn.Module) -> None:
    """Move parameters away from where they start, so that no gate is at a special point."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def node_of(network: nn.Module, target: str) -> fx.Node:
    assert isinstance(network, fx.GraphModule)
    return next(node for node in network.graph.nodes if node.op == "call_module" and node.target == target)


def test_they_stand_behind_the_hosts_own_from_the_coarsest_level_down() -> None:
    sites = [site for site in find_sites(HostConfig(**TINY)) if site.stage == "fpn"]
    assert [(site.name, site.block) for site in sites] == [
        ("fpn/lateral3", "fpn.level3"),
        ("fpn/output3", "fpn.level3"),
        ("fpn/lateral2", "fpn.level2"),
        ("fpn/merge2", "fpn.level2"),
        ("fpn/output2", "fpn.level2"),
        ("fpn/lateral1", "fpn.level1"),
        ("fpn/merge1", "fpn.level1"),
        ("fpn/output1", "fpn.level1"),
    ]


def test_a_convolution_of_the_pyramid_has_the_channels_and_size_of_what_it_reads() -> None:
    sites = {site.name: site for site in find_sites(HostConfig(**TINY))}
    assert (sites["fpn/lateral1"].channels, sites["fpn/lateral1"].resolution) == (16, (8, 8))
    assert (sites["fpn/output1"].channels, sites["fpn/output1"].resolution) == (64, (8, 8))
    lateral, output = sites["fpn/lateral1"].conv, sites["fpn/output1"].conv
    assert lateral
    assert output
    assert (lateral.in_channels, lateral.out_channels, lateral.kernel_size) == (16, 64, (1, 1))
    assert (output.in_channels, output.out_channels, output.kernel_size) == (64, 64, (3, 3))


def test_a_gate_at_a_lateral_convolution_refines_what_it_alone_reads(zero: str) -> None:
    network = place({"fpn/lateral1": {"module": zero}}).build().eval()
    bare = place({}).build().eval()
    end = node_of(bare, "fpn.inner_blocks.0.0").args[0]
    assert isinstance(end, fx.Node)
    assert {user.target for user in end.users} > {"fpn.inner_blocks.0.0"}  # Layer 2 reads it, too.
    gate = node_of(network, "attention.fpn__lateral1.0")
    assert [user.target for user in gate.users] == ["fpn.inner_blocks.0.0"]
    # The finest level alone loses its lateral map: it is then what comes from above.
    with torch.no_grad():
        ours, theirs = _levels(network, images()), _levels(bare, images())
    assert torch.equal(ours[1], theirs[1])
    assert torch.equal(ours[2], theirs[2])
    assert not torch.equal(ours[0], theirs[0])


def _levels(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what the 3x3 convolutions answer, the finest level first."""
    found: dict[str, Tensor] = {}
    convs = [f"fpn.layer_blocks.{level}.0" for level in range(3)]
    hooks = [
        network.get_submodule(path).register_forward_hook(lambda _, __, y, path=path: found.update({path: y}))
        for path in convs
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return [found[path] for path in convs]


def test_nothing_of_the_image_is_left_where_every_lateral_convolution_reads_zeros(zero: str) -> None:
    network = place({"fpn/lateral*": {"module": zero}}).build().eval()
    logits = network(images(2))
    torch.testing.assert_close(logits[0], logits[1])


def test_gates_stand_in_order_before_the_convolution_and_before_what_replaces_it(scaled_conv: str) -> None:
    placement = [{"module": "se", "reduction": 4}, {"module": "eca"}, {"module": scaled_conv}]
    network = place({"fpn/output2": placement}).build()
    conv = node_of(network, "fpn.layer_blocks.1.0")
    assert type(network.get_submodule("fpn.layer_blocks.1.0")).__name__ == "ScaledConv"
    (second,) = conv.all_input_nodes
    (first,) = second.all_input_nodes
    assert [first.target, second.target] == ["attention.fpn__output2.0", "attention.fpn__output2.1"]
    bare = place({}).build()
    assert set(bare.state_dict()) < set(network.state_dict())


@pytest.mark.parametrize("behind", [{"module": "se", "reduction": 4}, {"module": "aw"}])
def test_nothing_stands_behind_what_replaces_the_convolution(behind: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="aw replaces the convolution at fpn/output1: what refines its input stands"):
        place({"fpn/output1": [{"module": "aw"}, behind]})


def test_the_branch_of_a_merge_is_what_comes_from_the_coarser_level() -> None:
    network = place({"fpn/merge1": {"module": "aff"}}).build()
    branch, shortcut = node_of(network, "attention.fpn__merge1.0").args
    assert isinstance(branch, fx.Node)
    assert isinstance(shortcut, fx.Node)
    assert branch.target is functional.interpolate
    assert shortcut.target == "fpn.inner_blocks.0.0"


def test_a_bridge_is_refused_with_the_reason() -> None:
    reason = r"ba \(a bridge\) does not fit fpn/lateral1; a pyramid has no blocks whose convolutions it could bridge"
    with pytest.raises(InputError, match=reason):
        place({"fpn/lateral1": {"module": "ba"}})


def test_a_gate_does_not_fit_a_merge() -> None:
    with pytest.raises(InputError, match=r"se \(a gate\) does not fit fpn/merge1; it goes to: after_conv"):
        place({"fpn/merge1": {"module": "se"}})


def test_levels_share_a_module() -> None:
    architecture = place({"fpn/output*": {"module": "se", "reduction": 8, "share": "levels"}})
    network = architecture.build()
    added = set(network.state_dict()) - set(place({}).build().state_dict())
    # One SE with two linear layers and their biases.
    assert len(added) == 4
    assert measure_cost(architecture).params - measure_cost(place({})).params == 2 * 64 * 8 + 64 + 8


def test_levels_of_different_widths_cannot_share() -> None:
    with pytest.raises(InputError, match=r"cannot share a module \(group 'levels'\): 32 channels against 64"):
        place({"fpn/lateral*": {"module": "se", "reduction": 4, "share": "levels"}})


def test_replaced_convolutions_cannot_share() -> None:
    with pytest.raises(InputError, match="aw keeps the weights of its own convolution"):
        place({"fpn/output*": {"module": "aw", "share": "levels"}})


def test_a_recurrent_module_goes_on_from_the_stages_to_the_levels() -> None:
    shared = {"module": "dia", "reduction": 4, "share": "all"}
    network = place({"layer3.*/branch": shared, "fpn/output*": shared}).build()
    stir(network)
    calls = [node for node in network.graph.nodes if node.target == "attention.layer3_0__branch.0"]
    assert len(calls) == 3 + 3
    assert [call.args[1] is None for call in calls] == [True] + [False] * 5
    assert "fpn.layer_blocks.0.0" in {user.target for node in calls[-1].users for user in node.users}
    network(images()).sum().backward()


@pytest.mark.parametrize("module", ["se", "bam", "aw", "aff", "iaff", "ms_gau", "concat", "dia", "cat"])
def test_started_as_the_identity_a_module_changes_nothing(module: str) -> None:
    given = {"module": module, "init": "identity"}
    given |= {"reduction": 4} if "reduction" in entry(module).knobs else {}
    spec = make_spec(given)
    placed = {}
    for site in find_sites(HostConfig(**TINY)):
        try:
            check_fit(HostConfig(**TINY), site, [spec])
        except InputError:
            continue
        if site.stage == "fpn":
            placed[site.name] = [spec]
    assert len(placed) == (2 if entry(module).kind == "merge" else 6)
    network = Architecture.of(HostConfig(**TINY), placed).build(seed=1).eval()
    torch.testing.assert_close(network(images()), place({}).build(seed=1).eval()(images()))


def test_a_gate_before_the_coarsest_lateral_convolution_is_one_behind_the_last_block() -> None:
    gate = {"module": "se", "reduction": 4}
    by_level, by_block = place({"fpn/lateral3": gate}), place({"layer3.2/out": gate})
    assert by_level.id == by_block.id
    assert by_level.id != place({"fpn/lateral2": gate}).id
    x = images()
    assert torch.equal(by_level.build(seed=1).eval()(x), by_block.build(seed=1).eval()(x))


def test_what_stands_at_both_names_of_a_tensor_stands_in_order() -> None:
    both = place({"fpn/lateral3": {"module": "eca"}, "layer3.2/out": {"module": "se", "reduction": 4}})
    in_order = place({"layer3.2/out": [{"module": "se", "reduction": 4}, {"module": "eca"}]})
    assert both.id == in_order.id
    assert torch.equal(both.build(seed=1).eval()(images()), in_order.build(seed=1).eval()(images()))


def filled(host: HostConfig, seed: int) -> Architecture:
    """Return an architecture with a random module at every site of the pyramid."""
    rng = np.random.default_rng(seed)
    specs = [make_spec({"module": n, **({"reduction": 4} if "reduction" in entry(n).knobs else {})}) for n in names()]
    placed = {}
    for site in find_sites(host):
        if site.stage == "fpn":
            fit = [spec for spec in specs if _fits(host, site, spec)]
            placed[site.name] = [fit[rng.integers(len(fit))]]
    return Architecture.of(host, placed)


def _fits(host: HostConfig, site: Any, spec: Any) -> bool:
    try:
        check_fit(host, site, [spec])
    except InputError:
        return False
    return True


@pytest.mark.parametrize("head", ["classify", "segment"])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_random_module_at_every_site_it_is_trained_and_costs_what_is_counted(head: str, seed: int) -> None:
    architecture = filled(HostConfig(**TINY, head=head), seed)
    assert len(architecture.items) == 8
    network = architecture.build()
    network(images()).square().sum().backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if name.startswith("fpn"))
    assert measure_cost(architecture).params == sum(parameter.numel() for parameter in network.parameters())
    bare = place({}, head=head).build()
    assert set(bare.state_dict()) <= set(network.state_dict())
