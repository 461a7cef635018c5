"""Spaces: their exact size, uniform samples, neighbours, costs, and what is refused."""

import itertools
import math
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from search_spaces import Architecture, InputError, SearchSpace, measure_cost
from search_spaces.shipped import SPACES, find_file, shipped_names
from search_spaces.yaml_files import parse_yaml

Make = Callable[..., SearchSpace]
Choice = dict[str, Any]

SE = {"none": {}, "se": {"reduction": [4, 8]}}
BRANCH: Choice = {"at": "layer3.*/branch", "modules": SE}
END: Choice = {"at": "*/end", "per": "host", "modules": {"none": {}, "bam": {"reduction": 4, "dilation": [1, 2, 4]}}}


@pytest.fixture
def make(tiny: dict[str, Any]) -> Make:
    """Return `make(*choices, limits=..., host=...)`: a space on the tiny host."""

    def make(*choices: Choice, limits: dict[str, Any] | None = None, host: dict[str, Any] | None = None) -> SearchSpace:
        return SearchSpace.from_dict({"host": {**tiny, **(host or {})}, "choices": list(choices), "limits": limits})

    return make


def every(space: SearchSpace) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(len(decision.options)) for decision in space.decisions)))


def written(space: SearchSpace, choices: Sequence[Choice]) -> set[str]:
    """Return the hashes of every way of writing down the choices, by brute force."""
    entries: list[list[dict[str, Any]]] = []
    for decision in space.decisions:
        (choice,) = [c for c in choices if decision.name.endswith(c["at"]) or decision.name in matching(space, c)]
        ways = []
        for module, knobs in choice["modules"].items():
            values = [value if isinstance(value, list) else [value] for value in knobs.values()]
            for combination in itertools.product(*values):
                spec = {"module": module, **dict(zip(knobs, combination, strict=True))}
                ways.append(dict.fromkeys(decision.sites, spec))
        entries.append(ways)
    placements = ({k: v for part in parts for k, v in part.items()} for parts in itertools.product(*entries))
    host = space.host.model_dump()
    return {Architecture.from_dict({"host": host, "placement": each}).hash for each in placements}


def matching(space: SearchSpace, choice: Choice) -> set[str]:
    probe = {"host": space.host.model_dump(), "choices": [{**choice, "per": "site"}]}
    return {decision.name for decision in SearchSpace.from_dict(probe).decisions}


COINCIDING = [
    # 32 // 20 = 32 // 32, but 64 // 20 is more than 64 // 32.
    {"at": "layer[23].0/branch", "modules": {"none": {}, "se": {"reduction": [8, 20, 32]}}},
    # layer1 ends at 8x8, layer2 at 4x4: there a dilation of 4 is one of 6.
    {"at": "*/end", "modules": {"none": {}, "bam": {"reduction": 4, "dilation": [4, 6], "norm": "hidden"}}},
]
GROUPED = [
    {
        "at": "*/branch",
        "per": "stage",
        "modules": {"se": {"reduction": [5, 6]}, "eca": {"init": ["paper", "identity"]}},
    },
    {
        "at": "layer1.*/merge",
        "per": "host",
        "modules": {"none": {}, "aff": {"context": ["global_local", "local_local"]}},
    },
]


@pytest.mark.parametrize("choices", [[BRANCH], COINCIDING, GROUPED, [BRANCH, END]])
def test_the_size_is_the_number_of_distinct_architectures(choices: list[Choice], make: Make) -> None:
    space = make(*choices)
    hashes = {space.decode(indices).hash for indices in every(space)}
    assert space.size == len(every(space)) == len(hashes)
    assert hashes == written(space, choices)


def test_settings_that_coincide_at_some_sites_are_counted_once_there(make: Make) -> None:
    options = {decision.name: len(decision.options) for decision in make(*COINCIDING).decisions}
    # None, and the hidden widths {4, 1} of 32 channels and {8, 3, 2} of 64.
    assert (options["layer2.0/branch"], options["layer3.0/branch"]) == (3, 4)
    assert (options["layer1/end"], options["layer2/end"]) == (3, 2)


@pytest.mark.parametrize(
    ("per", "names"),
    [
        ("site", ["layer1.0/after_conv1", "layer1.0/out", "layer1.1/after_conv1", "layer1.1/out"]),
        ("block", ["layer1.0:layer1.[01]/[ao]*", "layer1.1:layer1.[01]/[ao]*"]),
        ("stage", ["layer1:layer1.[01]/[ao]*"]),
        ("host", ["host:layer1.[01]/[ao]*"]),
    ],
)
def test_there_is_one_decision_per_site_block_stage_or_host(per: str, names: list[str], make: Make) -> None:
    space = make({"at": "layer1.[01]/[ao]*", "per": per, "modules": {"none": {}, "eca": {}}})
    assert [decision.name for decision in space.decisions] == names
    sites = [name for decision in space.decisions for name in decision.sites]
    assert sites == ["layer1.0/after_conv1", "layer1.0/out", "layer1.1/after_conv1", "layer1.1/out"]
    full = space.decode([1] * len(names))
    assert list(full.placement) == sites


def test_decoding_and_encoding_are_inverse(make: Make) -> None:
    for space in (make(*COINCIDING), make(*GROUPED)):
        for indices in every(space):
            assert space.encode(space.decode(indices)) == indices


def test_an_architecture_is_encoded_however_it_is_written(make: Make, tiny: dict[str, Any]) -> None:
    space = make(*GROUPED)

    def encode(reduction: int) -> tuple[int, ...] | None:
        # 16 // 6 = 16 // 7 = 16 // 8, and 16 // 5 is more.
        placement = {
            "layer1.*/branch": {"module": "se", "reduction": 6},
            "layer1.1/branch": {"module": "se", "reduction": reduction},
        }
        placement |= {"layer[23].*/branch": {"module": "eca"}}
        return space.encode(Architecture.from_dict({"host": tiny, "placement": placement}))

    assert encode(6) == encode(7) == encode(8) == (1, 2, 2, 0)
    assert encode(5) is None


@pytest.mark.parametrize(
    "placement",
    [
        {},
        {"layer3.0/out": {"module": "se", "reduction": 4}},
        {"layer3.0/branch": {"module": "se", "reduction": 16}},
        {"layer3.0/branch": {"module": "se", "reduction": 4, "bias": False}},
        {"layer3.0/branch": {"module": "se", "reduction": 4, "init": "identity"}},
        {"layer3.*/branch": {"module": "se", "reduction": 4, "share": "g"}},
        {"layer3.0/branch": [{"module": "se", "reduction": 4}, {"module": "eca"}]},
    ],
)
def test_what_is_not_in_a_space_is_not_encoded(placement: dict[str, Any], make: Make, tiny: dict[str, Any]) -> None:
    space = make({"at": "layer3.*/branch", "modules": {"se": {"reduction": [4, 8]}}})
    assert space.encode(Architecture.from_dict({"host": tiny, "placement": placement})) is None
    inside = {"layer3.*/branch": {"module": "se", "reduction": 4}}
    assert space.encode(Architecture.from_dict({"host": tiny, "placement": inside})) == (0, 0, 0)


def test_every_way_to_choose_leads_to_the_option_that_it_builds(make: Make) -> None:
    space = make(COINCIDING[1])
    assert [decision.domains["bam"] for decision in space.decisions] == [{"dilation": (4, 6)}] * 2
    assert [space.option_index(0, "bam", {"dilation": d}) for d in (4, 6)] == [1, 2]
    assert [space.option_index(1, "bam", {"dilation": d}) for d in (4, 6)] == [1, 1]
    assert space.option_index(1, "none", {}) == 0


LIMITS = [None, {"sites": 2}, {"params": "1.015x host"}, {"sites": 3, "params": "1.02x host", "macs": "1.1x host"}]


@pytest.mark.parametrize("limits", LIMITS)
def test_samples_are_uniform_within_the_limits(limits: dict[str, Any] | None, make: Make) -> None:
    space = make(BRANCH, END, limits=limits)
    legal = [indices for indices in every(space) if space.violation(indices) is None]
    assert (len(legal) < space.size) == (limits is not None)
    rng = np.random.default_rng(0)
    counts = Counter(space.sample_indices(rng) for _ in range(20 * len(legal)))
    assert set(counts) <= set(legal)
    assert chisquare([counts[indices] for indices in legal]).pvalue > 0.01


def test_a_limit_that_little_satisfies_is_sampled_all_the_same(make: Make) -> None:
    choice = {
        "at": "*/*[ht]",
        "modules": {"none": {}, "se": {"reduction": [4, 8, 16]}, "eca": {"kernel_size": [3, 5, 7]}},
    }
    space = make(choice, limits={"sites": 1})
    # 18 sites with 7 options each: at most one occupied in 1 + 18 x 6 of 7^18.
    assert space.size == 7**18
    rng = np.random.default_rng(1)
    drawn = Counter(space.sample_indices(rng) for _ in range(1090))
    assert all(np.count_nonzero(indices) <= 1 for indices in drawn)
    assert len(drawn) > 100
    assert chisquare([*drawn.values(), *[0] * (109 - len(drawn))]).pvalue > 0.01
    bare = make(choice, limits={"params": "1x host"})
    assert bare.sample(rng).placement == {}


def test_the_same_seed_draws_the_same_samples(make: Make) -> None:
    space = make(BRANCH, END, limits={"sites": 3})
    first, second = ([space.sample(rng).id for _ in range(20)] for rng in (np.random.default_rng(7) for _ in range(2)))
    assert first == second


def test_neighbours_differ_in_one_decision_and_are_all_there_are(make: Make) -> None:
    space = make(BRANCH, END)
    indices = (0, 2, 1, 3)
    neighbours = space.neighbours(indices)
    expected = {other for other in every(space) if sum(a != b for a, b in zip(other, indices, strict=True)) == 1}
    assert len(neighbours) == len(expected)
    assert set(neighbours) == expected


def test_costs_and_violations_are_those_of_the_architecture(make: Make) -> None:
    limits = {"params": "1.01x host", "macs": "1.05x host", "sites": 4}
    space = make(BRANCH, END, limits=limits)
    host = measure_cost(space.decode([0] * len(space.decisions)))
    for indices in every(space):
        architecture = space.decode(indices)
        cost, num_sites = measure_cost(architecture), len(architecture.placement)
        assert space.cost(indices) == cost
        legal = cost.params <= 1.01 * host.params and cost.macs <= 1.05 * host.macs and num_sites <= 4
        assert (space.violation(indices) is None) == legal


def test_a_violation_names_limit_and_value(make: Make) -> None:
    space = make(BRANCH, limits={"sites": 2})
    assert space.violation((1, 1, 1)) == "limit: sites 3 above 2"
    assert space.violation((1, 0, 1)) is None


def test_the_least_is_what_the_cheapest_architecture_costs(make: Make) -> None:
    space = make({**BRANCH, "modules": {"se": {"reduction": [4, 8]}, "eca": {}}}, END)
    cheapest = {
        "params": min(space.cost(indices).params for indices in every(space)),
        "macs": min(space.cost(indices).macs for indices in every(space)),
        "sites": 3,
    }
    assert {name: space.least(name) for name in cheapest} == cheapest


def test_a_knob_with_one_value_is_no_choice(make: Make) -> None:
    alone = make({"at": "layer3.0/branch", "modules": {"se": {"reduction": 8, "init": "identity"}}})
    assert alone.size == 1
    (spec,) = alone.decode((0,)).placement["layer3.0/branch"]
    assert (spec.init, spec.knobs["reduction"]) == ("identity", 8)
    assert alone.decisions[0].domains == {"se": {}}
    listed = make({"at": "layer3.0/branch", "modules": {"se": {"reduction": [8], "init": ["identity"]}}})
    assert listed.decode((0,)) == alone.decode((0,))


def test_the_way_a_module_starts_may_be_a_choice(make: Make) -> None:
    space = make({"at": "layer3.0/branch", "modules": {"none": None, "se": {"init": ["paper", "identity"]}}})
    assert [option.knobs for option in space.decisions[0].options] == [{}, {"init": "paper"}, {"init": "identity"}]


def test_out_and_end_may_both_be_chosen_where_no_network_is_built_twice(make: Make) -> None:
    out = {"at": "layer1.2/out", "modules": {"none": {}, "se": {"reduction": [4, 8]}}}
    end = {"at": "layer1/end", "modules": {"none": {}, "bam": {"reduction": 4}}}
    space = make(out, end)
    assert len({space.decode(indices).hash for indices in every(space)}) == space.size == 6
    must = {"at": "layer1/end", "modules": {"se": {"reduction": [4, 8]}}}
    space = make(out, must)
    assert len({space.decode(indices).hash for indices in every(space)}) == space.size == 6


def test_a_space_can_be_sent_to_another_process(make: Make) -> None:
    space = make(BRANCH, END, limits={"sites": 3})
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.size == space.size
    assert again.sample(np.random.default_rng(3)) == space.sample(np.random.default_rng(3))


@pytest.mark.parametrize("name", shipped_names(SPACES))
def test_shipped_spaces_are_valid_and_described(name: str) -> None:
    path = find_file(name, "space", SPACES)
    space = SearchSpace.load(path)
    sizes = [math.prod(len(decision.options) for decision in part.decisions) for part in space.variants]
    assert space.size == sum(sizes) > 1000
    assert path.read_text().startswith("description: ")


HEAD = "host: {name: resnet20}\nchoices:\n"
MISTAKES = {
    "no choices": ("host: {name: resnet20}\n", 1, "the key 'choices' is missing"),
    "empty choices": ("host: {name: resnet20}\nchoices: []", 2, "choices: must not be empty, got \\[\\]"),
    "a choice that is no list": (HEAD + "  at: x\n  modules: {se: {}}", 2, "choices: must be a list, got {'at'"),
    "an unknown key": (HEAD + "- at: '*/out'\n  pre: site\n  modules: {se: {}}", 4, "pre: unknown key; .* mean 'per'"),
    "what a decision is per": (
        HEAD + "- at: '*/out'\n  per: blok\n  modules: {se: {}}",
        4,
        "per: .* did you mean 'block'",
    ),
    "a selector": (HEAD + "- modules: {se: {}}\n  at: '*/brnch'", 4, r"at: the selector '\*/brnch' matches no site"),
    "an unknown module": (
        HEAD + "- at: '*/out'\n  modules:\n    none: {}\n    see: {}",
        6,
        "see: unknown module .* 'se'",
    ),
    "modules in a list": (HEAD + "- at: '*/out'\n  modules: [none, se]", 4, "modules: must be {key: value, ...}, got"),
    "an unknown knob": (HEAD + "- at: '*/out'\n  modules:\n    se:\n      ratio: [4]", 6, "ratio.*unknown knob of se"),
    "a value of the wrong type": (
        HEAD + "- at: '*/out'\n  modules:\n    se:\n      reduction:\n      - 4\n      - 8.0",
        8,
        r"se.reduction\[1\]: .*integer, got 8.0",
    ),
    "a value that does not fit": (
        HEAD + "- at: '*/out'\n  modules:\n    se:\n      reduction:\n      - 4\n      - 32",
        8,
        r"se.reduction\[1\]: se does not fit layer1.0/out: reduction 32 is above the 16 channels",
    ),
    "a value twice": (HEAD + "- at: '*/out'\n  modules: {se: {reduction: [4, 4]}}", 4, "must list values, each once"),
    "no value": (
        HEAD + "- at: '*/out'\n  modules: {se: {reduction: []}}",
        4,
        "must list values, each once, got \\[\\]",
    ),
    "a value without effect": (
        HEAD + "- at: 'layer1.*/out'\n  modules:\n    se:\n      reduction:\n      - 6\n      - 4\n      - 7",
        9,
        r"se.reduction\[2\]: reduction 7 has no effect: at every site it builds what 6 builds",
    ),
    "a knob without effect": (
        HEAD + "- at: '*/end'\n  modules:\n    bam:\n      branches: channel\n      dilation: [1, 2]",
        7,
        r"bam.dilation\[1\]: dilation 2 has no effect",
    ),
    "a place": (
        HEAD + "- at: '*/merge'\n  modules:\n    none: {}\n    se: {}",
        6,
        r"se \(a gate\) does not fit layer1.0/merge",
    ),
    "none with a knob": (
        HEAD + "- at: '*/out'\n  modules: {none: {a: 1}}",
        4,
        "none: the module none has no knobs, got a",
    ),
    "sharing": (
        HEAD + "- at: '*/out'\n  modules: {se: {share: g}}",
        4,
        "se.share: in a space it is stage or host, got",
    ),
    "sharing what replaces a convolution": (
        HEAD + "- at: '*/conv1'\n  modules: {aw: {share: stage}}",
        4,
        "aw.share: aw keeps the weights of its own convolution",
    ),
    "overlapping selectors": (
        HEAD + "- at: '*/out'\n  modules: {se: {}}\n- modules: {eca: {}}\n  at: layer2.0/*t",
        6,
        r"choices\[1\].at: 'layer2.0/\*t' and '\*/out' \(choices\[0\]\) overlap at layer2.0/out",
    ),
    "two ways to one network": (
        HEAD + "- at: '*/out'\n  modules: {none: {}, se: {}}\n- modules: {none: {}, bam: {}, se: {}}\n  at: layer1/end",
        6,
        r"choices\[1\].at: layer1.2/out and layer1/end are one tensor, and se or none may stand at both",
    ),
    "a limit nothing satisfies": (
        HEAD + "- at: '*/out'\n  modules: {se: {}}\nlimits:\n  macs: 2x host\n  params: 1x host",
        7,
        "limits.params: nothing satisfies the limit 269,722: the least possible is [0-9,]+",
    ),
    "limits nothing satisfies together": (
        HEAD
        + "- at: '*/end'\n  per: host\n  modules: {bam: {dilation: 1}, se: {reduction: 1}}\n"
        + "limits:\n  macs: MACS\n  params: PARAMS",
        6,
        r"limits: [0-9,]+ random architectures, and none within the limits \(params <= ",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_by_file_line_and_key(mistake: str) -> None:
    text, line, message = MISTAKES[mistake]
    if "PARAMS" in text:
        # SE has the fewest MACs and BAM the fewest parameters here: what either has, the other has not.
        se, bam = (
            measure_cost(Architecture.from_dict({"host": {"name": "resnet20"}, "placement": {"*/end": spec}}))
            for spec in ({"module": "se", "reduction": 1}, {"module": "bam", "dilation": 1})
        )
        assert se.macs < bam.macs
        assert se.params > bam.params
        text = text.replace("MACS", str(se.macs)).replace("PARAMS", str(bam.params))
    with pytest.raises(InputError, match=f"^s.yaml, line {line}: .*{message}") as error:
        SearchSpace.from_document(parse_yaml(text, "s.yaml"))
    assert len(str(error.value)) < 260


def test_several_mistakes_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("host: {name: resnet20, clases: 3}\nchoices:\n- at: 3\n  modules: {se: {}}\nlimit: {}\n")
    with pytest.raises(InputError, match="line 1") as error:
        SearchSpace.load(path)
    lines = str(error.value).splitlines()
    assert [line.split(": ")[0].removeprefix(f"{path}, ") for line in lines] == ["line 1", "line 3", "line 5"]
