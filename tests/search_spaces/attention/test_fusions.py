"""The strategies of table 1 against their equations."""

import math

import pytest
import torch
from torch import Tensor, nn

from search_spaces.attention import create

CHANNELS = 8
MULTI_SCALE = ["ms_gau", "ms_se", "ms_sa"]


def draw() -> tuple[Tensor, Tensor]:
    branch, shortcut = torch.randn(2, 3, CHANNELS, 3, 5, generator=torch.Generator().manual_seed(0))
    return branch, shortcut


def multi_scale_weights(module: nn.Module, x_BCHW: Tensor, context: str) -> Tensor:
    """M of eq. 3 in eval mode."""

    def convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
        return torch.einsum("oc,bchw->bohw", conv.weight.flatten(1), x) + conv.bias[:, None, None]

    def normed(bn: nn.Module, x: Tensor) -> Tensor:
        scale = bn.weight / (bn.running_var + 1e-5).sqrt()
        return (x - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]

    logits = torch.zeros_like(x_BCHW)
    for (first, norm, _, last, end), scale in zip(module.branches, context.split("_"), strict=True):
        seen = x_BCHW.flatten(2).mean(2)[:, :, None, None] if scale == "global" else x_BCHW
        logits = logits + normed(end, convolved(last, normed(norm, convolved(first, seen)).clamp(min=0)))
    return 1 / (1 + (-logits).exp())


@pytest.mark.parametrize("context", ["global_local", "global_global", "local_local"])
@pytest.mark.parametrize("name", MULTI_SCALE)
@torch.no_grad()
def test_it_is_its_equation(name, context, stir) -> None:
    module = stir(create(name, channels=CHANNELS, reduction=2, context=context)).eval()
    y, x = draw()
    seen = {"ms_gau": y, "ms_se": y, "ms_sa": x + y}[name]
    m = multi_scale_weights(module.weights, seen, context)
    expected = {"ms_gau": m * x + y, "ms_se": x + m * y, "ms_sa": m * x + y}[name]
    torch.testing.assert_close(module(y, x), expected)


@pytest.mark.parametrize("name", MULTI_SCALE)
def test_it_has_the_parameters_of_aff(name) -> None:
    shapes = [[p.shape for p in create(n, channels=CHANNELS, reduction=2).parameters()] for n in (name, "aff")]
    assert shapes[0] == shapes[1]


@torch.no_grad()
def test_ms_se_is_ms_cam_at_the_end_of_the_branch(stir) -> None:
    merge, gate = (stir(create(name, channels=CHANNELS, reduction=2)).eval() for name in ("ms_se", "ms_cam"))
    branch, shortcut = draw()
    torch.testing.assert_close(merge(branch, shortcut), gate(branch) + shortcut)


@torch.no_grad()
def test_concat_is_one_linear_map_of_the_concatenation(stir) -> None:
    module = stir(create("concat", channels=CHANNELS))
    branch, shortcut = draw()
    weight = torch.cat((module.shortcut.weight, module.branch.weight), 1).flatten(1)
    expected = torch.einsum("oc,bchw->bohw", weight, torch.cat((shortcut, branch), 1))
    torch.testing.assert_close(module(branch, shortcut), expected)
    assert sum(p.numel() for p in module.parameters()) == 2 * CHANNELS * CHANNELS


def test_concat_starts_as_kaiming_over_both_inputs_with_the_variance_of_their_sum() -> None:
    module = create("concat", channels=64)
    branch, shortcut = torch.randn(2, 16, 64, 4, 4)
    assert module.branch.weight.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.05)
    assert module(branch, shortcut).std().item() == pytest.approx(math.sqrt(2), rel=0.1)
