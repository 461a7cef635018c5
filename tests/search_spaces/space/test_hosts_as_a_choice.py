"""Spaces over several hosts: what exists where, sizes, uniform samples, neighbours, limits, what is refused."""

import itertools
import pickle
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces import Architecture, HostConfig, InputError, SearchSpace, find_sites, measure_cost
from search_spaces.cost import host_cost
from search_spaces.yaml_files import parse_yaml

Make = Callable[..., SearchSpace]
Choice = dict[str, Any]
Indices = tuple[int, ...]

TINY = {"name": ["resnet20", "resnet32"], "classes": 3, "input": 8, "channels": 1}
WIDE = {**TINY, "name": "resnet20", "width": [0.5, 1.0]}
# ResNet-20 has three blocks in each stage, ResNet-32 five.
BRANCH: Choice = {"at": "layer3.[1-3]/branch", "modules": {"none": {}, "se": {"reduction": [4, 8]}}}
END: Choice = {"at": "*/end", "per": "host", "modules": {"none": {}, "bam": {"reduction": 4, "dilation": [1, 2]}}}
DEEP: Choice = {"at": "layer1.4/out", "modules": {"eca": {"kernel_size": [3, 5]}}}
# At width 0.5 layer3 has 32 channels, where 32 // 20 = 32 // 32; at width 1 it has 64.
COINCIDING: Choice = {"at": "layer3.[01]/branch", "modules": {"none": {}, "se": {"reduction": [8, 20, 32]}}}


def make(*choices: Choice, limits: dict[str, Any] | None = None, host: dict[str, Any] | None = None) -> SearchSpace:
    return SearchSpace.from_dict({"host": host or TINY, "choices": list(choices), "limits": limits})


def every(space: SearchSpace) -> set[Indices]:
    """Return all architectures by brute force: every way to choose, as it is known."""
    ways = itertools.product(*(range(len(decision.options)) for decision in space.decisions))
    return {space.normal(indices) for indices in ways}


def written(choices: list[Choice], host: dict[str, Any]) -> set[str]:
    """Return the hashes of every way of writing down the choices on every host."""
    found: set[str] = set()
    for values in itertools.product(*map(listed, host.values())):
        alone = dict(zip(host, values, strict=True))
        entries = [ways for choice in choices for ways in ways_to_write(choice, HostConfig(**alone))]
        for parts in itertools.product(*entries):
            placement = {site: spec for part in parts for site, spec in part.items()}
            found.add(Architecture.from_dict({"host": alone, "placement": placement}).hash)
    return found


def ways_to_write(choice: Choice, host: HostConfig) -> list[list[dict[str, Any]]]:
    """Return per decision of a choice every placement that it allows."""
    specs = [
        {"module": module, **dict(zip(knobs, combination, strict=True))}
        for module, knobs in choice["modules"].items()
        for combination in itertools.product(*map(listed, knobs.values()))
    ]
    sites = [site.name for site in find_sites(host) if fnmatchcase(site.name, choice["at"])]
    groups = [sites] if choice.get("per") == "host" else [[site] for site in sites]
    return [[dict.fromkeys(group, spec) for spec in specs] for group in groups if group]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("choices", "host"),
    [([BRANCH, END], TINY), ([BRANCH, DEEP], TINY), ([COINCIDING], WIDE), ([COINCIDING, END], {**WIDE, **TINY})],
)
def test_the_size_is_the_number_of_distinct_architectures(choices: list[Choice], host: dict[str, Any]) -> None:
    space = make(*choices, host=host)
    indices = every(space)
    assert {space.decode(each).hash for each in indices} == written(choices, host)
    assert space.size == len(indices) == len(written(choices, host))
    assert {space.at(number) for number in range(space.size)} == indices
    with pytest.raises(IndexError, match=str(space.size)):
        space.at(space.size)


def test_the_first_decision_is_the_host_and_the_others_come_in_network_order() -> None:
    space = make(BRANCH, DEEP, END)
    assert [decision.name for decision in space.decisions] == [
        "host",
        "layer3.1/branch",
        "layer3.2/branch",
        "layer3.3/branch",
        "layer1.4/out",
        "host:*/end",
    ]
    assert [option.module for option in space.decisions[0].options] == ["resnet20", "resnet32"]
    assert space.option_index(0, "resnet32", {}) == 1
    assert [space.exists(number, (0,)) for number in range(6)] == [True, True, True, False, False, True]
    assert [space.exists(number, (1,)) for number in range(6)] == [True] * 6


def test_deeper_blocks_stand_between_those_that_shallow_networks_have() -> None:
    space = make({"at": "*/out", "modules": {"none": {}, "eca": {}}})
    names = [decision.name for decision in space.decisions[1:]]
    assert names == [f"layer{stage}.{block}/out" for stage in (1, 2, 3) for block in range(5)]


def test_a_space_over_one_listed_host_is_a_space_over_that_host() -> None:
    alone = make(BRANCH, host={**TINY, "name": ["resnet20"]})
    assert alone == make(BRANCH, host={**TINY, "name": "resnet20"})
    assert [decision.name for decision in alone.decisions] == ["layer3.1/branch", "layer3.2/branch"]


def test_what_does_not_exist_has_the_index_0_and_changes_nothing() -> None:
    space = make(BRANCH)
    architecture = space.decode((0, 1, 2, 1))
    assert architecture.host.name == "resnet20"
    assert list(architecture.placement) == ["layer3.1/branch", "layer3.2/branch"]
    assert space.normal((0, 1, 2, 1)) == space.normal((0, 1, 2, 2)) == (0, 1, 2, 0)
    assert space.decode((0, 1, 2, 0)) == architecture
    assert space.cost((0, 1, 2, 1)) == space.cost((0, 1, 2, 0))


def test_decoding_and_encoding_are_inverse() -> None:
    for space in (make(BRANCH, DEEP, END), make(COINCIDING, host=WIDE)):
        for indices in every(space):
            assert space.encode(space.decode(indices)) == indices


def test_what_stands_on_another_host_is_not_encoded() -> None:
    space = make(BRANCH)
    for host in ({"name": "resnet56"}, {"width": 0.5}, {"classes": 4}):
        other = {**TINY, "name": "resnet20", **host}
        assert space.encode(Architecture.from_dict({"host": other, "placement": {}})) is None


def test_options_are_one_where_they_build_the_same_on_every_host_only() -> None:
    space = make(COINCIDING, host=WIDE)
    # None and three hidden widths of 64 channels, of which 32 channels have two.
    assert [len(decision.options) for decision in space.decisions] == [2, 4, 4]
    assert [part.size for part in space.variants] == [3 * 3, 4 * 4]
    assert space.normal((0, 2, 3)) == (0, 2, 2)
    assert space.normal((1, 2, 3)) == (1, 2, 3)
    assert space.decode((0, 3, 3)).hash == space.decode((0, 2, 2)).hash
    assert space.decode((1, 3, 3)).hash != space.decode((1, 2, 2)).hash
    assert space.option_index(1, "se", {"reduction": 32}) == 3


@pytest.mark.parametrize(
    "limits", [None, {"sites": 2}, {"params": "1.015x host"}, {"params": "1.01x host", "macs": "1.1x host", "sites": 3}]
)
def test_samples_are_uniform_over_the_union_within_the_limits(limits: dict[str, Any] | None) -> None:
    space = make(BRANCH, END, limits=limits)
    legal = [indices for indices in sorted(every(space)) if space.violation(indices) is None]
    assert {indices[0] for indices in legal} == {0, 1}
    assert (len(legal) < space.size) == (limits is not None)
    rng = np.random.default_rng(0)
    counts = Counter(space.sample_indices(rng) for _ in range(30 * len(legal)))
    assert set(counts) == set(legal)
    assert chisquare([counts[indices] for indices in legal]).pvalue > 0.01


def test_samples_are_uniform_where_options_coincide_and_modules_are_shared() -> None:
    shared = {
        "at": "layer3.[012]/branch",
        "modules": {"none": {}, "se": {"reduction": [8, 20, 32], "share": "stage"}, "eca": {}},
    }
    space = make(shared, host=WIDE, limits={"params": "1.004x host"})
    legal = [indices for indices in sorted(every(space)) if space.violation(indices) is None]
    assert 0 < len(legal) < space.size == 4**3 + 5**3
    rng = np.random.default_rng(1)
    counts = Counter(space.sample_indices(rng) for _ in range(40 * len(legal)))
    assert set(counts) == set(legal)
    assert chisquare([counts[indices] for indices in legal]).pvalue > 0.01


def test_costs_limits_and_violations_are_those_of_the_architecture_and_its_own_host() -> None:
    # The bare ResNet-32 and what has only gates is below, BAM at its ends is not; ResNet-20 is far below.
    macs = make(BRANCH, END).cost((1, 0, 0, 0, 1)).macs - 1
    space = make(BRANCH, END, limits={"params": "1.012x host", "macs": macs, "sites": 2})
    broken = set()
    for indices in every(space):
        architecture = space.decode(indices)
        cost, host = measure_cost(architecture), host_cost(architecture.host)
        assert space.cost(indices) == cost
        limits = {
            "params": cost.params <= 1.012 * host.params,
            "macs": cost.macs <= macs,
            "sites": len(architecture.placement) <= 2,
        }
        violation = space.violation(indices)
        assert (violation is None) == all(limits.values())
        if violation:
            name = violation.split()[1]
            assert not limits[name]
            broken.add((name, indices[0]))
    assert broken == {("params", 0), ("params", 1), ("macs", 1), ("sites", 1)}


def test_the_least_is_that_of_the_cheapest_host() -> None:
    space = make(BRANCH, END)
    costs = [space.cost(indices) for indices in every(space)]
    assert space.least("params") == min(cost.params for cost in costs)
    assert space.least("macs") == min(cost.macs for cost in costs)
    assert space.least("sites") == 0


def test_hosts_on_which_nothing_is_within_the_limits_are_left_out_and_named() -> None:
    whole = make(BRANCH, host={**TINY, "name": ["resnet20", "resnet56", "resnet32"]})
    macs = [part.cost_of_host.macs for part in whole.variants]
    space = make(BRANCH, host={**TINY, "name": ["resnet20", "resnet56", "resnet32"]}, limits={"macs": max(macs) - 1})
    assert [part.label for part in space.variants] == ["resnet20", "resnet32"]
    (reason,) = space.left_out
    assert reason == f"resnet56: the limit on macs is {max(macs) - 1:,}, and the least possible {max(macs):,}"
    with pytest.raises(InputError, match=r"limits.macs: nothing on any host; resnet20: .*; resnet56: .*; resnet32: "):
        make(BRANCH, host={**TINY, "name": ["resnet20", "resnet56", "resnet32"]}, limits={"macs": min(macs) - 1})


def test_neighbours_differ_in_one_decision_or_in_the_host_alone() -> None:
    space = make(BRANCH, DEEP, END)
    # The host, three branches of which ResNet-20 has two, `eca` that must stand in layer1.4, and the ends.
    deep, shallow = (1, 2, 0, 1, 1, 2), (0, 2, 0, 0, 0, 2)
    everything = every(space)
    for indices, number in ((deep, 2 + 2 + 2 + 1 + 2), (shallow, 2 + 2 + 2)):
        same_host = [other for other in everything if other[0] == indices[0]]
        expected = {other for other in same_host if sum(a != b for a, b in zip(other, indices, strict=True)) == 1}
        assert len(expected) == number
        neighbours = space.neighbours(indices)
        assert len(neighbours) == len(set(neighbours)) == number + 1
        assert set(neighbours) >= expected
    # What both have is kept, what only ResNet-32 has is empty where it may be.
    assert shallow in space.neighbours(deep)
    assert (1, 2, 0, 0, 0, 2) in space.neighbours(shallow)
    assert set(space.neighbours(shallow)) <= everything


def test_neighbours_are_distinct_where_options_coincide() -> None:
    space = make(COINCIDING, host=WIDE)
    neighbours = space.neighbours((0, 1, 2))
    assert sorted(neighbours) == [(0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 2, 2), (1, 1, 2)]


def test_the_same_seed_draws_the_same_samples_in_another_process_too() -> None:
    space = make(BRANCH, END, limits={"sites": 3})
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert hash(again.decisions) == hash(space.decisions)
    rngs = (np.random.default_rng(7) for _ in range(2))
    first, second = ([each.sample(rng).id for _ in range(20)] for each, rng in zip((space, again), rngs, strict=True))
    assert first == second


def test_a_group_that_is_one_site_on_some_host_has_one_name() -> None:
    # In ResNet-20 layer1.[24]/out is one site, in ResNet-32 two.
    choice = {"at": "layer1.[24]/out", "per": "stage", "modules": {"none": {}, "eca": {}}}
    space = make(choice, END)
    assert [decision.name for decision in space.decisions] == ["host", "layer1:layer1.[24]/out", "host:*/end"]
    assert list(space.decode((0, 1, 0)).placement) == ["layer1.2/out"]
    assert list(space.decode((1, 1, 0)).placement) == ["layer1.2/out", "layer1.4/out"]


def test_a_knob_counts_where_it_has_an_effect_on_any_host() -> None:
    # 32 // 20 = 32 // 32 at width 0.5, so that alone it is refused; not beside a host with 64 channels.
    choice = {"at": "layer3.0/branch", "modules": {"se": {"reduction": [20, 32]}}}
    with pytest.raises(InputError, match="reduction 32 has no effect"):
        make(choice, host={**TINY, "name": "resnet20", "width": 0.5})
    assert make(choice, host=WIDE).size == 1 + 2
    with pytest.raises(InputError, match="reduction 32 has no effect"):
        make(choice, host={**TINY, "width": 0.5})


HEAD = "host: {name: [resnet20, resnet32], width: [0.5, 1.0]}\nchoices:\n"
MISTAKES = {
    "a selector that matches on no host": (
        HEAD + "- modules: {se: {}}\n  at: '*/brnch'",
        4,
        r"at: on resnet20 width=0.5: the selector '\*/brnch' matches no site.*\(and none of the 3 other hosts has",
    ),
    "a value that does not fit on one host": (
        HEAD + "- at: '*/out'\n  modules:\n    se:\n      reduction: [4, 16]",
        5,
        r"modules.se: on resnet20 width=0.5: se does not fit layer1.0/out: reduction 16 is above the 8 channels",
    ),
    "selectors that overlap on one host": (
        HEAD + "- at: 'layer1.2/out'\n  modules: {se: {reduction: 4}}\n- at: 'layer1.[24]/out'\n  modules: {eca: {}}",
        5,
        r"choices\[1\].at: on resnet20 width=0.5: 'layer1.\[24\]/out' and 'layer1.2/out' \(choices\[0\]\) overlap at",
    ),
    "two ways to one network on one host": (
        HEAD + "- at: 'layer1.4/out'\n  modules: {none: {}, eca: {}}\n- at: layer1/end\n  modules: {none: {}, eca: {}}",
        5,
        r"choices\[1\].at: on resnet32 width=0.5: layer1.4/out and layer1/end are one tensor",
    ),
    "limits nothing satisfies": (
        HEAD + "- at: '*/out'\n  modules: {eca: {}}\nlimits: {sites: 8}",
        5,
        r"limits.sites: nothing on any host; resnet20 width=0.5: the limit on sites is 8, and the least possible 9; ",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_host_beside_file_line_and_key(mistake: str) -> None:
    text, line, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=f"^s.yaml, line {line}: .*{message}"):
        SearchSpace.from_document(parse_yaml(text, "s.yaml"))


def test_a_selector_that_matches_on_some_hosts_is_no_mistake() -> None:
    space = make(DEEP)
    assert [len(part.decisions) for part in space.variants] == [0, 1]
    assert space.size == 1 + 2
    assert space.encode(space.decode((0, 0))) == (0, 0)
    rng = np.random.default_rng(2)
    counts = Counter(space.sample_indices(rng) for _ in range(300))
    assert chisquare([counts[indices] for indices in ((0, 0), (1, 0), (1, 1))]).pvalue > 0.01
