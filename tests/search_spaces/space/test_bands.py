"""Samples from a narrow band of costs."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces import SearchSpace
from search_spaces.cost import Cost
from search_spaces.space.host_space import HostSpace
from search_spaces.space.limits import Band

SE = {"none": {}, "se": {"reduction": [4, 8]}, "eca": {}}


def part(modules: dict[str, Any], limits: dict[str, Any] | None = None, per: str = "site") -> HostSpace:
    choice = {"at": "layer[23].[01]/branch", "per": per, "modules": modules}
    host = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
    (only,) = SearchSpace.from_dict({"host": host, "choices": [choice], "limits": limits}).variants
    return only


def test_a_band_holds_what_costs_at_most_that_share_more_or_less() -> None:
    band = Band.around(Cost(1000, 500), 0.01)
    assert Cost(1010, 495) in band
    assert Cost(990, 505) in band
    assert Cost(1011, 500) not in band
    assert Cost(1000, 494) not in band


@pytest.mark.parametrize(
    ("modules", "limits", "share"),
    [(SE, None, 0.002), (SE, {"sites": 2}, 0.004), ({**SE, "se": {"reduction": 4, "share": "stage"}}, None, 0.003)],
)
def test_samples_are_uniform_in_the_band_and_within_the_limits(
    modules: dict[str, Any], limits: dict[str, Any] | None, share: float
) -> None:
    space = part(modules, limits)
    everything = [space.at(number) for number in range(space.size)]
    middle = space.cost(everything[space.size // 2])
    band = Band.around(middle, share)
    left_out = everything[space.size // 2]
    legal = [x for x in everything if space.cost(x) in band and space.violation(x) is None and x != left_out]
    assert 2 < len(legal) < space.size - 1
    rng = np.random.default_rng(0)
    counts = Counter(space.sample_in(band, rng, without=(left_out,)) for _ in range(20 * len(legal)))
    assert set(counts) <= set(legal)
    assert chisquare([counts[indices] for indices in legal]).pvalue > 0.01


def test_an_empty_band_is_found_empty_after_bounded_effort() -> None:
    space = part(SE)
    dear = space.cost_of_host + Cost(10**9, 10**9)
    assert space.sample_in(Band.around(dear, 0.001), np.random.default_rng(0), max_draws=2000) is None
    cheap = Band(Cost(0, 0), Cost(1, 1))
    assert space.sample_in(cheap, np.random.default_rng(0), max_draws=2000) is None
