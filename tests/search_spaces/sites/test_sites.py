"""Sites: which places there are, what they are called, and which tensor stands there."""

import pytest
from torch import nn
from torchvision.ops import StochasticDepth

from search_spaces import HostConfig, InputError, Site, find_sites
from search_spaces.graphs.tracing import HostGraph
from search_spaces.networks import trace_host


def named(host: HostConfig | str) -> dict[str, Site]:
    return {site.name: site for site in find_sites(host)}


def module_at(host: HostConfig, site: Site) -> nn.Module | None:
    graph = trace_host(host)
    return graph.module(graph.node(site.target))


def test_a_basic_block_has_its_places_in_the_order_of_the_network() -> None:
    block = ["conv1", "after_conv1", "conv2", "branch", "merge", "out"]
    stages = [[f"layer{i}.{j}/{place}" for j in range(3) for place in block] for i in (1, 2, 3)]
    expected = [*stages[0], "layer1/end", *stages[1], "layer2/end", *stages[2]]
    assert [site.name for site in find_sites("resnet20")] == expected


def test_a_bottleneck_has_three_convolutions_without_that_of_the_shortcut() -> None:
    sites = [site for site in find_sites("resnet50") if site.block == "layer2.0"]
    places = ["conv1", "after_conv1", "conv2", "after_conv2", "conv3", "branch", "merge", "out"]
    assert [site.place for site in sites] == places
    assert [site.channels for site in sites] == [128, 128, 128, 128, 512, 512, 512, 512]
    # The stride is on the second convolution: 224 / 8 from there on.
    assert [site.resolution for site in sites] == [(56, 56)] * 2 + [(28, 28)] * 6


def test_the_convolutions_of_a_hosts_own_attention_are_not_counted() -> None:
    host = HostConfig(name="mobilenet_v3_small")
    graph = trace_host(host)
    # A depthwise and a pointwise convolution, and between them SE with two convolutions.
    assert "features.1.block.1.fc2" in dict(graph.root.named_modules())
    convs = [site for site in find_sites(host) if site.block == "features.1" and site.place_kind == "conv"]
    targets = [str(graph.node(site.target).target) for site in convs]
    assert targets == ["features.1.block.0.0", "features.1.block.2.0"]


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_large", "regnet_y_400mf"])
def test_after_conv_is_before_the_hosts_own_attention(name: str) -> None:
    host = HostConfig(name=name)
    graph = trace_host(host)
    for site in find_sites(host):
        if site.place_kind == "after_conv":
            assert not any("scale" in node for node in _names_up_to_the_convolution(graph, site))


def _names_up_to_the_convolution(graph: HostGraph, site: Site) -> list[str]:
    node = graph.node(site.target)
    names = []
    while not graph.is_conv(node):
        names.append(node.name)
        (node,) = node.all_input_nodes
    return names


@pytest.mark.parametrize(
    ("name", "activation"),
    [("resnet50", nn.ReLU), ("mobilenet_v2", nn.ReLU6), ("efficientnet_b0", nn.SiLU), ("regnet_x_400mf", nn.ReLU)],
)
def test_after_conv_is_after_norm_and_activation(name: str, activation: type[nn.Module]) -> None:
    host = HostConfig(name=name)
    graph = trace_host(host)
    for site in find_sites(host):
        if site.place_kind == "after_conv":
            assert isinstance(module_at(host, site), activation)
            norm = graph.node(site.target).all_input_nodes[0]
            assert isinstance(graph.module(norm), nn.BatchNorm2d)
            assert graph.is_conv(norm.all_input_nodes[0])


@pytest.mark.parametrize(("name", "branch"), [("resnet18", 0), ("efficientnet_b0", 0), ("regnet_y_400mf", 1)])
def test_the_branch_is_the_operand_with_the_convolutions_whichever_comes_first(name: str, branch: int) -> None:
    host = HostConfig(name=name)
    graph = trace_host(host)
    sites = named(host)
    merges = [site for site in sites.values() if site.place == "merge"]
    assert {site.branch_operand for site in merges} == {branch}
    for merge in merges:
        operand = graph.node(merge.target).args[branch]
        while isinstance(graph.module(operand), StochasticDepth):
            (operand,) = operand.all_input_nodes
        assert operand.name == sites[f"{merge.block}/branch"].target


def test_a_shortcut_with_a_convolution_is_still_the_shortcut() -> None:
    graph, sites = trace_host(HostConfig(name="resnet50")), named("resnet50")
    # layer1.0 adds bn3(conv3(...)) and the down-sampled input.
    assert str(graph.node(sites["layer1.0/branch"].target).target) == "layer1.0.bn3"


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_s"])
def test_the_branch_ends_before_stochastic_depth(name: str) -> None:
    host = HostConfig(name=name)
    graph = trace_host(host)
    for site in find_sites(host):
        if site.place == "branch":
            (user,) = graph.node(site.target).users
            assert isinstance(graph.module(user), StochasticDepth)
            # The first blocks of V2 have one convolution, and end in its activation.
            assert isinstance(module_at(host, site), nn.BatchNorm2d | nn.SiLU)


def test_a_block_that_adds_nothing_has_neither_branch_nor_merge() -> None:
    sites = [site.place for site in find_sites("mobilenet_v2") if site.block == "features.2"]
    assert sites == ["conv1", "after_conv1", "conv2", "after_conv2", "conv3", "out"]


def test_out_is_after_the_merges_activation_or_the_merge_itself() -> None:
    resnet, mobile = HostConfig(name="resnet18"), HostConfig(name="mobilenet_v2")
    assert isinstance(module_at(resnet, named(resnet)["layer1.0/out"]), nn.ReLU)
    sites = named(mobile)
    assert sites["features.3/out"].target == sites["features.3/merge"].target


def test_stages_of_one_resolution_are_one_stage_named_by_its_last_block() -> None:
    ends = [site.name for site in find_sites("efficientnet_b0") if site.place == "end"]
    # 112, 56, 28, then 14 in features.4 and features.5, then 7 in features.6 and features.7, the last.
    assert ends == ["features.1/end", "features.2/end", "features.3/end", "features.5.2/end"]
    sites = named("efficientnet_b0")
    assert sites["features.4.0/out"].stage == sites["features.5.2/out"].stage == "features.5.2"


def test_a_stage_is_named_by_the_container_of_exactly_its_blocks() -> None:
    ends = [site.name for site in find_sites("regnet_x_400mf") if site.place == "end"]
    assert ends == [f"trunk_output.block{i}/end" for i in (1, 2, 3)]
    # MobileNetV2's blocks all stand in one container.
    mobile = [site.name for site in find_sites("mobilenet_v2") if site.place == "end"]
    assert mobile == ["features.1/end", "features.3/end", "features.6/end", "features.13/end"]


def test_where_no_resolution_drops_there_is_one_stage_without_an_end() -> None:
    sites = find_sites(HostConfig(name="resnet20", input=1))
    assert {site.resolution for site in sites} == {(1, 1)}
    assert {site.stage for site in sites} == {"layer3.2"}
    assert not any(site.place == "end" for site in sites)


def test_an_end_is_the_out_of_its_last_block_under_the_name_that_both_are_known_by() -> None:
    sites = named("resnet20")
    end, out = sites["layer1/end"], sites["layer1.2/out"]
    assert (end.target, end.channels, end.resolution) == (out.target, 16, (32, 32))
    assert (end.known_as, out.known_as) == ("layer1/end", "layer1/end")
    assert all(site.known_as == name for name, site in sites.items() if name not in ("layer1.2/out", "layer2.2/out"))


def test_a_bridge_reads_the_blocks_earlier_convolutions() -> None:
    sites = named("resnet50")
    read = {place: sites[f"layer2.0/{place}"].sources for place in ("after_conv1", "after_conv2", "branch")}
    assert [source.channels for source in read["branch"]] == [128, 128]
    assert [source.resolution for source in read["branch"]] == [(56, 56), (28, 28)]
    assert read["after_conv2"] == read["branch"][:1]
    assert read["after_conv1"] == ()
    assert read["branch"][0].node == sites["layer2.0/after_conv1"].target


def test_channels_and_resolution_are_those_of_the_configured_images() -> None:
    sites = named(HostConfig(name="resnet20", input=20, channels=1))
    assert [sites[f"layer{i}.2/out"].resolution for i in (1, 2, 3)] == [(20, 20), (10, 10), (5, 5)]
    assert [sites[f"layer{i}.2/out"].channels for i in (1, 2, 3)] == [16, 32, 64]


def test_a_place_has_a_kind_without_its_number() -> None:
    sites = named("resnet50")
    assert sites["layer1.0/after_conv2"].place_kind == "after_conv"
    assert sites["layer1.0/conv3"].place_kind == "conv"
    assert sites["layer1/end"].place_kind == "end"


def test_sites_of_an_unknown_host_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown host 'resnt20'; .* did you mean 'resnet20'"):
        find_sites("resnt20")
