"""Spaces in which the host's own attention may be removed or replaced: modules that cost less than nothing."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces import SearchSpace, find_sites, measure_cost
from search_spaces.cost import host_cost, site_cost
from search_spaces.fitting import make_spec

HOST = {"name": "mobilenet_v3_small", "input": 32, "classes": 4}
AT = "features.[456]/own"
MODULES = {"none": {}, "remove": {}, "se": {"reduction": [2, 8]}}


def make(modules: dict[str, Any], limits: dict[str, Any] | None = None) -> SearchSpace:
    return SearchSpace.from_dict({"host": HOST, "choices": [{"at": AT, "modules": modules}], "limits": limits})


def test_costs_and_the_least_are_those_of_the_networks() -> None:
    space = make(MODULES)
    costs = []
    for number in range(space.size):
        indices = space.at(number)
        architecture = space.decode(indices)
        assert space.cost(indices) == measure_cost(architecture)
        assert space.encode(architecture) == indices
        costs.append(space.cost(indices))
    host = host_cost(space.host)
    own = [site for site in find_sites(space.host) if site.name in {d.name for d in space.decisions}]
    saved = sum(site_cost(space.host, site, make_spec({"module": "remove"})).params for site in own)
    assert saved < 0
    assert space.least("params") == min(cost.params for cost in costs) == host.params + saved
    assert space.least("macs") == min(cost.macs for cost in costs) < host.macs


@pytest.mark.parametrize("limit", ["1x host", "0.97x host"])
def test_samples_are_uniform_within_limits_below_the_host_s_cost(limit: str) -> None:
    space = make(MODULES, {"params": limit})
    legal = [indices for number in range(space.size) if not space.violation(indices := space.at(number))]
    assert 1 < len(legal) < space.size
    rng = np.random.default_rng(0)
    counts = Counter(space.sample_indices(rng) for _ in range(30 * len(legal)))
    assert set(counts) == set(legal)
    assert chisquare([counts[indices] for indices in legal]).pvalue > 0.01


def test_each_site_loses_what_it_had_where_one_module_serves_them_all() -> None:
    space = make({"none": {}, "se": {"reduction": 2, "share": "host"}})
    for number in range(space.size):
        indices = space.at(number)
        architecture = space.decode(indices)
        num_params = sum(parameter.numel() for parameter in architecture.build().parameters())
        assert space.cost(indices) == measure_cost(architecture)
        assert space.cost(indices).params == num_params


def test_what_is_removed_does_not_count_as_a_site_with_a_module() -> None:
    space = make({"none": {}, "remove": {}, "eca": {}}, {"sites": 0})
    assert space.violation((1,) * len(space.decisions)) is None
    assert space.violation((2, *(1,) * (len(space.decisions) - 1))) == "limit: sites 1 above 0"
