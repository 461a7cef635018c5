"""Parameter counts, by arithmetic, and the sums that the papers print for whole networks."""

import pytest
import torch

from search_spaces.attention import create

RESNET50 = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
"""Output channels of its blocks; each block's inner convolutions have a quarter."""
RESNET50_PARAMS = 25_557_032


def count(name: str, channels: int, **given) -> int:
    with torch.device("meta"):
        module = create(name, channels=channels, **given)
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("channels", "reduction"), [(64, 16), (100, 16), (20, 3)])
def test_se_has_two_linear_layers(channels, reduction) -> None:
    hidden = channels // reduction
    assert count("se", channels, reduction=reduction, bias=False) == 2 * channels * hidden
    assert count("se", channels, reduction=reduction, bias=True) == 2 * channels * hidden + hidden + channels


def test_eca_has_as_many_parameters_as_its_kernel_is_long() -> None:
    assert [count("eca", 64, kernel_size=size) for size in (1, 3, 9)] == [1, 3, 9]


def test_cbam_has_the_parameters_of_se_with_bias_and_of_a_spatial_convolution_with_norm() -> None:
    se, spatial = count("se", 64), 2 * 7 * 7 + 2
    assert count("cbam", 64) == count("cbam", 64, pooling="avg") == se + spatial
    assert count("cbam", 64, spatial=False) == se
    assert count("cbam", 64, kernel_size=3) == se + 2 * 3 * 3 + 2


def test_bam_has_the_parameters_of_its_branches() -> None:
    c, h = 64, 4
    channel = (c * h + h) + 2 * h + (h * c + c)
    spatial = (c * h + h) + 2 * h + 2 * ((9 * h * h + h) + 2 * h) + (h + 1)
    assert count("bam", c, norm="hidden") == channel + spatial
    assert count("bam", c) == channel + spatial + 2 * c + 2
    assert count("bam", c, branches="channel") == channel + 2 * c
    assert count("bam", c, branches="spatial") == spatial + 2
    assert count("bam", c, num_dilated=3) - count("bam", c) == 9 * h * h + h + 2 * h


def test_ba_has_a_linear_layer_and_a_norm_for_each_tensor_that_it_reads() -> None:
    sources, hidden = (64, 32), 16
    squeeze = {channels: channels * hidden + 2 * hidden for channels in (*sources, 256)}
    own = squeeze[256] + hidden * 256
    assert count("ba", 256, source_channels=sources) == own + squeeze[64] + squeeze[32]
    assert count("ba", 256, source_channels=sources, bridges="first") == own + squeeze[64]
    assert count("ba", 256, source_channels=sources, bridges="last") == own + squeeze[32]


@pytest.mark.parametrize("context", ["global_local", "global_global", "local_local"])
def test_aff_has_two_branches_and_iaff_four(context) -> None:
    c, h = 64, 16
    branch = (c * h + h) + 2 * h + (h * c + c) + 2 * c
    assert count("ms_cam", c, context=context) == count("aff", c, context=context) == 2 * branch
    assert count("iaff", c, context=context) == 4 * branch


@pytest.mark.parametrize(
    ("name", "knobs", "printed"),
    [
        ("se", {"bias": False}, 28_071_976),
        ("se", {"bias": True}, 28_088_024),
        ("eca", {}, 25_557_080),
        ("cbam", {"spatial": False}, 28_088_024),
    ],
)
def test_resnet50_with_a_gate_in_every_block_has_the_papers_count(name, knobs, printed) -> None:
    assert RESNET50_PARAMS + sum(count(name, channels, **knobs) for channels in RESNET50) == printed


@pytest.mark.parametrize(("norm", "printed"), [("all", 25_918_689), ("hidden", 25_915_099)])
def test_resnet50_with_bam_after_three_stages_has_the_papers_count(norm, printed) -> None:
    added = sum(count("bam", channels, norm=norm) for channels in (256, 512, 1024))
    assert RESNET50_PARAMS + added == printed


def test_resnet50_with_ba_in_every_block_has_the_papers_count_for_each_choice_of_bridges() -> None:
    def network(bridges: str) -> int:
        blocks = ((channels, (channels // 4, channels // 4)) for channels in RESNET50)
        added = sum(count("ba", c, source_channels=sources, bridges=bridges) for c, sources in blocks)
        return RESNET50_PARAMS + added

    assert network("all") == 28_706_376
    assert f"{network('first') / 1e6:.2f}" == f"{network('last') / 1e6:.2f}" == "28.39"


def test_iaff_resnet50_has_as_many_more_parameters_than_aff_resnet50_as_counted() -> None:
    fused = [1024] * 6 + [2048] * 3  # the released networks fuse in stages 3 and 4 only, with r = 16
    aff, iaff = (sum(count(name, c, reduction=16) for c in fused) for name in ("aff", "iaff"))
    assert iaff - aff == 35_170_120 - 30_373_192
