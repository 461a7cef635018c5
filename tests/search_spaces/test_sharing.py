"""One module for several sites: in placements, in spaces, and with a state that goes from site to site."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas.proposals.baselines import make_baselines
from search_spaces import Architecture, SearchSpace, find_sites, measure_cost
from search_spaces.cost import host_cost

Place = Callable[..., Architecture]
SE = 2 * 16 * 4 + 4 + 16, 2 * 32 * 8 + 8 + 32, 2 * 64 * 16 + 16 + 64
"""Parameters of SE with reduction 4 at each stage's width."""


def space_of(modules: dict[str, Any], limits: dict[str, Any] | None = None, per: str = "site") -> SearchSpace:
    host = {"name": "resnet20", "classes": 3, "input": 8, "channels": 1}
    choices = [{"at": "*/branch", "per": per, "modules": modules}]
    return SearchSpace.from_dict({"host": host, "choices": choices, "limits": limits or {}})


def added(space: SearchSpace, architecture: Architecture) -> int:
    return measure_cost(architecture).params - host_cost(space.host).params


@pytest.mark.parametrize("shared_by", ["stage", "host"])
def test_sites_of_one_width_that_take_the_same_option_share_it(shared_by: str) -> None:
    # In this host widths differ from stage to stage, so a group of the host is one of a stage.
    space = space_of({"none": {}, "se": {"reduction": 4, "share": shared_by}})
    all_of_them = space.decode([1] * 9)
    assert added(space, all_of_them) == sum(SE)
    assert added(space, space.decode([1, 1, 0, 0, 0, 0, 0, 1, 0])) == SE[0] + SE[2]
    assert len({spec.share for (spec,) in all_of_them.placement.values()}) == 3


def test_a_group_of_the_host_goes_across_stages_where_widths_are_equal() -> None:
    host = {"name": "mobilenet_v2", "stem": "cifar", "input": 16, "classes": 3}
    choices = [{"at": "features.*/out", "modules": {"none": {}, "eca": {"share": "host"}}}]
    space = SearchSpace.from_dict({"host": host, "choices": choices})
    architecture = space.decode([1] * len(space.decisions))
    widths = {site.channels for site in find_sites(space.host) if site.name in architecture.placement}
    assert added(space, architecture) == 3 * len(widths)


def test_options_with_other_knobs_are_other_modules() -> None:
    space = space_of({"none": {}, "se": {"reduction": [4, 8], "share": "stage"}})
    assert added(space, space.decode([1, 2, 1, 0, 0, 0, 0, 0, 0])) == SE[0] + 2 * 16 * 2 + 2 + 16


def test_the_cost_of_indices_is_that_of_what_they_build_and_limits_hold() -> None:
    modules = {"none": {}, "se": {"reduction": [4, 8], "share": "stage"}, "eca": {}}
    limit = host_cost(space_of(modules).host).params + SE[0] + SE[1] + 20
    space = space_of(modules, {"params": limit, "sites": 7})
    rng = np.random.default_rng(0)
    for _ in range(60):
        indices = space.sample_indices(rng)
        architecture = space.decode(indices)
        assert space.cost(indices) == measure_cost(architecture)
        assert measure_cost(architecture).params <= limit
        assert space.encode(architecture) == indices


def test_sampling_under_a_limit_stays_uniform_when_modules_are_shared() -> None:
    space = space_of({"none": {}, "se": {"reduction": 4, "share": "stage"}}, per="stage")
    limited = space_of({"none": {}, "se": {"reduction": 4, "share": "stage"}},
                       {"params": host_cost(space.host).params + SE[1], "sites": 4})  # fmt: skip
    # Within the limits: nothing, or at most 4 sites that all lie in stage 1 or all in stage 2 (of 3 blocks each).
    allowed = [(a, b, 0) for a in range(8) for b in range(8) if not (a and b)]
    rng = np.random.default_rng(0)
    drawn = [limited.sample_indices(rng) for _ in range(3000)]
    masks = [tuple(int("".join(map(str, d[3 * i : 3 * i + 3])), 2) for i in range(3)) for d in drawn]
    both = {(a, b, 0) for a in range(8) for b in range(8) if bin(a).count("1") + bin(b).count("1") <= 4}
    affordable = {m for m in both if not m[1] or not m[0]}
    assert set(masks) == affordable == set(allowed)
    counts = np.array([masks.count(mask) for mask in sorted(affordable)])
    expected = len(masks) / len(affordable)
    assert ((counts - expected) ** 2 / expected).sum() < 35  # 14 degrees of freedom: p = 0.0015


def test_a_baseline_everywhere_shares_as_the_space_does() -> None:
    space = space_of({"none": {}, "se": {"reduction": 4, "share": "stage"}})
    everywhere = dict(make_baselines(space, 0, 0))["se everywhere"]
    shares = [spec.share for specs in everywhere.placement.values() for spec in specs]
    assert len(shares) == 9
    assert len(set(shares)) == 3


class Calls:
    """Keeps what a module was given and what it answered, call by call."""

    def __init__(self, module: nn.Module) -> None:
        self.given: list[Any] = []
        self.answers: list[Any] = []
        module.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, given: tuple[Any, ...], answer: Any) -> None:
        self.given.append(given)
        self.answers.append(answer)


def test_a_recurrent_module_hands_its_state_on_along_its_group(place: Place) -> None:
    placement = {f"layer{i}.*/branch": {"module": "dia", "share": f"stage {i}"} for i in (1, 2)}
    network = place(placement).build()
    stages = [Calls(network.get_submodule(f"attention.layer{i}_0__branch.0")) for i in (1, 2)]
    following = Calls(network.get_submodule("layer1.2.conv1"))
    network(torch.randn(2, 1, 8, 8)).sum().backward()
    for calls in stages:
        assert len(calls.given) == 3
        assert calls.given[0][1] is None
        for (_, state), (_, left) in zip(calls.given[1:], calls.answers[:-1], strict=True):
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(state, left, strict=True))
    assert following.given[0][0].shape == (2, 16, 8, 8)
    assert all(parameter.grad is not None for parameter in network.parameters())
