"""What blocks, stages and places are in hosts of every kind: with and without additions, branching, pre-activated."""

import pytest
import torch
from tiny_hosts import Inception, Net, Residual, conv, sites_of, traced
from torch import Tensor, nn

from search_spaces import HostConfig, InputError, Site, find_sites
from search_spaces.graphs.stages import find_stages
from search_spaces.hosts import host_names
from search_spaces.sites import finding


def places(sites: dict[str, Site], block: str) -> list[str]:
    return [site.place for name, site in sites.items() if name.rpartition("/")[0] == block]


def test_in_a_flat_network_a_block_is_a_run_of_convolutions_at_one_resolution() -> None:
    layers = [*conv(3, 4), *conv(4, 4), nn.MaxPool2d(2), *conv(4, 8)]
    sites = sites_of(nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)))
    # Modules 0 to 2, 3 to 5, the pooling, 7 to 9; a run is called by its first convolution.
    assert list(sites) == [
        *(f"0.0/{place}" for place in ("conv1", "after_conv1", "conv2", "out", "end")),
        *(f"0.7/{place}" for place in ("conv1", "out")),
    ]
    assert sites["0.0/end"].resolution == (16, 16)
    assert sites["0.0/out"].known_as == "0.0/end"
    assert sites["0.7/out"].resolution == (8, 8)


def test_one_convolution_that_cuts_the_image_up_is_no_block() -> None:
    assert sites_of(nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.Flatten(), nn.Linear(64, 2))) == {}


def test_without_additions_a_block_is_the_innermost_repeated_module_that_is_more_than_a_layer() -> None:
    stages = (nn.Sequential(Inception(4, 4), Inception(8, 4)), nn.MaxPool2d(2), nn.Sequential(Inception(8, 4)))
    sites = sites_of(Net(*stages, Inception(8, 4)))
    assert {site.block for site in sites.values()} == {"stem", "body.0.0", "body.0.1", "body.2.0", "body.3"}
    assert [name for name in sites if name.endswith("/end")] == ["body.0/end"]


def test_where_branches_meet_all_their_convolutions_count_and_each_has_an_output_before_the_meeting() -> None:
    sites = sites_of(Net(Inception(4, 4), Inception(8, 4)))
    # One convolution on the first branch, two on the second.
    pairs = [place for i in (1, 2, 3) for place in (f"conv{i}", f"after_conv{i}")]
    assert places(sites, "body.1") == [*pairs, "concat", "out"]
    assert [site.channels for site in sites.values() if site.block == "body.1"] == [4, 4, 2, 2, 4, 4, 8, 8]
    # A bridge reads what the tensor is computed from: not the other branch.
    assert [source.channels for source in sites["body.1/after_conv3"].sources] == [2]
    assert sites["body.1/after_conv2"].sources == ()


def test_a_concatenation_that_is_the_output_is_one_tensor_with_it() -> None:
    sites = sites_of(Net(Inception(4, 4), Inception(8, 4)))
    assert sites["body.1/concat"].target == sites["body.1/out"].target
    assert sites["body.1/concat"].known_as == sites["body.1/out"].known_as == "body.1/out"
    assert sites["body.1/concat"].branch_operand is None


def test_the_sum_of_two_branches_of_a_layer_is_no_residual_addition() -> None:
    block = Residual(Inception(4, 4, add=True), *conv(4, 4))
    sites = sites_of(Net(block, Residual(*conv(4, 4))))
    # One convolution against two, one after the other; then all four against none.
    assert places(sites, "body.0")[-3:] == ["branch", "merge", "out"]
    assert "concat" not in places(sites, "body.1")


@pytest.mark.parametrize("number", [2, 3])
def test_a_sum_of_branches_of_equal_depth_is_one_concat_per_addition(number: int) -> None:
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(conv(4, 4, kernel) for kernel in (1, 3, 5)[:number])

        def forward(self, x: Tensor) -> Tensor:
            total = self.branches[0](x)
            for branch in list(self.branches)[1:]:
                total = total + branch(x)
            return total

    sites = sites_of(Net(Residual(Parallel(), *conv(4, 4)), Residual(*conv(4, 4))))
    concats = [place for place in places(sites, "body.0") if place.startswith("concat")]
    assert concats == (["concat"] if number == 2 else ["concat1", "concat2"])
    assert sites[f"body.0/{concats[0]}"].branch_operand == 0


def test_an_addition_within_a_residual_branch_is_a_same_layer_sum() -> None:
    class Split(nn.Module):
        """As Res2Net: the second half of the channels gets what the first half became."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = conv(2, 2), conv(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            left, right = x.chunk(2, dim=1)
            left = self.first(left)
            return torch.cat([left, self.second(left + right)], dim=1)

    sites = sites_of(Net(Residual(Split(), nn.Conv2d(4, 4, 1)), Residual(*conv(4, 4))))
    found = [place for place in places(sites, "body.0") if "conv" not in place]
    assert found == ["concat1", "concat2", "branch", "merge", "out"]
    assert sites["body.0/concat1"].branch_operand == 0
    assert sites["body.0/concat2"].branch_operand is None


def test_several_residual_additions_of_a_block_have_numbers() -> None:
    class Two(nn.Module):
        """As PoolFormer: first a mixer, then a perceptron."""

        def __init__(self) -> None:
            super().__init__()
            self.mixer, self.mlp = conv(4, 4), conv(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.mixer(x)
            return x + self.mlp(x)

    found = places(sites_of(Net(Two(), Two())), "body.0")
    assert found == ["conv1", "branch1", "merge1", "conv2", "branch2", "merge2", "out"]


class PreActivated(nn.Module):
    """Norm, activation, convolution, twice; a projection reads what is pre-activated."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels_in), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels_in, channels, 1, stride=stride) if stride > 1 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.bn1(x))
        branch = self.conv2(self.relu(self.bn2(self.conv1(active))))
        return branch + (self.project(active) if self.project else x)


def test_in_a_pre_activated_block_after_conv_is_after_the_norm_and_activation_that_follow() -> None:
    network = Net(PreActivated(4, 4), PreActivated(4, 8, stride=2))
    graph = traced(network)
    sites = sites_of(network)
    for block in ("body.0", "body.1"):
        assert (
            places(sites, block)
            == ["conv1", "after_conv1", "conv2", "branch", "merge", "out", "end"][: 6 + (block == "body.0")]
        )
        after = graph.node(sites[f"{block}/after_conv1"].target)
        assert str(after.target) == f"{block}.relu"
        assert str(after.all_input_nodes[0].target) == f"{block}.bn2"
        assert sites[f"{block}/branch"].target == sites[f"{block}/conv2"].target
        assert sites[f"{block}/out"].target == sites[f"{block}/merge"].target
    assert sites["body.1/branch"].previous_end
    assert sites["body.1/branch"].previous_end.node == sites["body.0/out"].target


@pytest.mark.parametrize("kind", ["pool", "stride", "mid-block"])
def test_a_stage_ends_with_the_last_block_before_the_drop_wherever_that_sits(kind: str) -> None:
    drops = {
        "pool": [nn.MaxPool2d(2), Residual(*conv(4, 4))],
        "stride": [conv(4, 4, stride=2), Residual(*conv(4, 4))],
        "mid-block": [PreActivated(4, 4, stride=2)],
    }
    first = PreActivated(4, 4) if kind == "mid-block" else Residual(*conv(4, 4))
    sites = sites_of(Net(first, *drops[kind]))
    assert [name for name in sites if name.endswith("/end")] == ["body.0/end"]
    assert sites["body.0/end"].resolution == (16, 16)


def test_a_parallel_resolution_is_no_drop() -> None:
    class TwoResolutions(nn.Module):
        """Two branches of blocks, the second at half the resolution; what comes of the first goes no lower."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = conv(3, 4)
            self.high, self.down, self.low = Residual(*conv(4, 4)), conv(4, 4, stride=2), Residual(*conv(4, 4))
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            high, low = self.high(x), self.low(self.down(x))
            return self.head(torch.cat([high.mean((2, 3)), low.mean((2, 3))], dim=1))

    graph = traced(TwoResolutions())
    assert [(stage.name, stage.drops) for stage in find_stages(graph)] == [("high", False), ("low", False)]
    sites = sites_of(TwoResolutions())
    assert "high/end" not in sites
    # What was before a block is what it is computed from, not what stands before it in the code.
    assert sites["low/branch"].previous_conv
    assert sites["low/branch"].previous_conv.resolution == (8, 8)


def test_maps_with_their_channels_last_are_no_sites() -> None:
    class ChannelsLast(nn.Module):
        """As ConvNeXt: norm and perceptron on (H, W, C)."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.first, self.second = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.norm(self.conv(x).permute(0, 2, 3, 1))
            branch = (hidden + self.second(self.first(hidden).relu())).permute(0, 3, 1, 2)
            return x + self.scale * branch

    sites = sites_of(Net(ChannelsLast(), ChannelsLast()), size=4)
    # At 4x4 with 4 channels, shapes do not tell. The branch ends behind the layer scale, whose product is no attention.
    assert places(sites, "body.0") == ["conv1", "branch", "merge", "out"]
    assert sites["body.0/branch"].target == "mul"


def test_dense_layers_are_blocks_and_a_dense_block_ends_with_its_concatenation() -> None:
    sites = {site.name: site for site in find_sites("densenet121")}
    assert places(sites, "features.denseblock1.denselayer2") == ["concat", "conv1", "after_conv1", "conv2", "out"]
    # 64 channels of the stem and one layer's 32; after six layers 64 + 6 x 32.
    assert sites["features.denseblock1.denselayer2/concat"].channels == 96
    end = sites["features.denseblock1/end"]
    assert (end.channels, end.resolution) == (256, (56, 56))
    assert end.target == sites["features.denseblock1/concat"].target
    assert places(sites, "features.transition1") == ["conv1", "out"]
    assert sites["features.transition1/out"].stage == "features.denseblock2"


@pytest.mark.parametrize(
    ("name", "block", "expected"),
    [
        ("squeezenet1_1", "features.3", {"conv": 3, "after_conv": 3, "concat": 1, "out": 1}),
        # Branches of 1, 2, 2 and 1 convolutions.
        ("googlenet", "inception3a", {"conv": 6, "after_conv": 6, "concat": 1, "out": 1}),
        # 1x1, depthwise 3x3, 1x1 on half of the channels; the shuffle comes after the concatenation.
        ("shufflenet_v2_x1_0", "stage2.1", {"conv": 3, "after_conv": 3, "concat": 1, "out": 1}),
        ("vgg16", "features.24", {"conv": 3, "after_conv": 2, "out": 1}),
        ("alexnet", "features.6", {"conv": 3, "after_conv": 2, "out": 1}),
    ],
)
def test_families_without_additions_have_these_places(name: str, block: str, expected: dict[str, int]) -> None:
    if name not in host_names():
        pytest.skip(f"{name} is no host")
    kinds = [site.place_kind for site in find_sites(name) if site.name.rpartition("/")[0] == block]
    assert {kind: kinds.count(kind) for kind in kinds} == expected


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        # Poolings after each run but the last, which has no stage behind it.
        ("vgg16", ["features.0", "features.5", "features.10", "features.17"]),
        ("squeezenet1_1", ["features.0", "features.4", "features.7"]),
        ("shufflenet_v2_x1_0", ["conv1", "stage2", "stage3"]),
        ("googlenet", ["conv1", "conv2", "inception3b", "inception4e"]),
        ("densenet121", ["features.conv0", *(f"features.denseblock{i}" for i in (1, 2, 3))]),
    ],
)
def test_stages_of_families_without_additions_end_before_their_poolings(name: str, ends: list[str]) -> None:
    assert [site.name for site in find_sites(name) if site.place == "end"] == [f"{end}/end" for end in ends]


def test_a_host_without_sites_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.Flatten(), nn.Linear(64, 2))
    monkeypatch.setattr(finding, "trace_host", lambda _: traced(patches))
    with pytest.raises(InputError, match=r"resnet20 has no sites of these kinds .* vision transformer"):
        finding._find_sites.__wrapped__(HostConfig(name="resnet20", classes=77))
