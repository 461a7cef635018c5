"""Architectures: selectors, identity, and files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Architecture, HostConfig, InputError
from search_spaces.fitting import make_spec
from search_spaces.yaml_files import parse_yaml

Place = Callable[..., Architecture]


def read(text: str) -> Architecture:
    return Architecture.from_document(parse_yaml(text, "a.yaml"))


def test_the_id_is_the_hash_of_the_canonical_json(place: Place) -> None:
    architecture = place({"layer3.2/branch": {"module": "se", "reduction": 20}})
    host = {"channels": 1, "classes": 3, "input": 8, "name": "resnet20", "pretrained": False, "stem": "cifar"}
    # 64 channels // 20 are 3 hidden units.
    se = {"bias": True, "gate": "sigmoid", "hidden": 3, "init": "paper", "module": "se", "share": None}
    canonical = {"format": 1, "host": host, "sites": [["layer3.2/branch", [se]]]}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    assert architecture.canonical == text
    assert architecture.hash == hashlib.sha256(text.encode()).hexdigest()
    assert architecture.id == architecture.hash[:10]


def test_reductions_of_one_hidden_width_are_one_architecture(place: Place) -> None:
    def ids(*reductions: int) -> set[str]:
        return {place({"layer3.0/branch": {"module": "se", "reduction": r}}).id for r in reductions}

    for reductions in ((22, 25, 32), (32, 33), (4, 8, 16), (1, 2, 3, 21, 22)):
        assert len(ids(*reductions)) == len({64 // reduction for reduction in reductions})


def test_how_a_placement_is_written_does_not_matter(place: Place) -> None:
    spelled = {
        f"layer{i}.{j}/branch": {"bias": True, "reduction": 16, "module": "se"} for i in (3, 1, 2) for j in range(3)
    }
    globbed = place({"*/branch": {"module": "se"}})
    assert place(spelled).id == globbed.id
    assert place(spelled) == globbed
    assert place({"layer?.[012]/branch": [{"module": "se", "init": "paper"}]}) == globbed


def test_a_later_selector_replaces_an_earlier_one(place: Place) -> None:
    placement = {
        "*/branch": {"module": "se"},
        "layer[12].*/branch": {"module": "none"},
        "layer3.0/branch": {"module": "eca"},
    }
    stands = {name: specs[0].module for name, specs in place(placement).placement.items()}
    assert stands == {"layer3.0/branch": "eca", "layer3.1/branch": "se", "layer3.2/branch": "se"}


def test_what_a_later_selector_replaces_need_not_fit(place: Place) -> None:
    # 32 is above the 16 channels of layer1.
    placement = {"*/branch": {"module": "se", "reduction": 32}, "layer1.*/branch": {"module": "none"}}
    assert len(place(placement).placement) == 6


@pytest.mark.parametrize(
    "change",
    [{"classes": 4}, {"input": 9}, {"channels": 3}, {"name": "resnet32"}, {"name": "resnet18", "stem": "cifar"}],
)
def test_every_field_of_the_host_counts(change: dict[str, Any], place: Place) -> None:
    assert place({}, **change).id != place({}).id


def test_stem_and_weights_count() -> None:
    hosts = [{}, {"stem": "cifar"}, {"pretrained": True}]
    assert len({Architecture.from_dict({"host": {"name": "resnet18", **host}}).id for host in hosts}) == 3


def test_defaults_need_not_be_written() -> None:
    short = Architecture.from_dict({"host": {"name": "resnet20"}})
    whole = {"name": "resnet20", "classes": 10, "input": 32, "channels": 3, "stem": "cifar", "pretrained": False}
    assert short.id == Architecture.from_dict({"host": whole, "placement": {}}).id
    assert short.to_dict() == {"host": whole, "placement": {}}


def test_module_knobs_init_site_and_order_count(place: Place) -> None:
    se, eca = {"module": "se"}, {"module": "eca"}
    placements = [
        {"layer1.0/branch": se}, {"layer1.0/out": se}, {"layer1.1/branch": se}, {"layer1.0/branch": eca},
        {"layer1.0/branch": {**se, "bias": False}}, {"layer1.0/branch": {**se, "init": "identity"}},
        {"layer1.0/branch": [se, eca]}, {"layer1.0/branch": [eca, se]}, {"layer1.0/branch": [se, se]},
    ]  # fmt: skip
    assert len({place(placement).id for placement in placements}) == len(placements)


def test_the_name_of_a_group_does_not_count_but_who_shares_does(place: Place) -> None:
    def groups(*names: str | None) -> str:
        sites = (f"layer2.{i}/branch" for i in range(3))
        written = ({"module": "se"} | ({"share": name} if name else {}) for name in names)
        return place(dict(zip(sites, written, strict=True))).id

    assert groups("a", "a", "b") == groups("x", "x", None)
    assert groups("a", "b", "c") == groups(None, None, None)
    different = [groups(None, None, None), groups("a", "a", None), groups("a", None, "a"), groups("a", "a", "a")]
    assert len(set(different)) == 4


def test_two_names_of_one_tensor_are_one_architecture(place: Place) -> None:
    out, end = place({"layer1.2/out": {"module": "se"}}), place({"layer1/end": {"module": "se"}})
    assert out.id == end.id
    assert out.id != place({"layer1.1/out": {"module": "se"}}).id
    weights = out.build(seed=2).state_dict(), end.build(seed=2).state_dict()
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    both = place({"layer1.2/out": {"module": "se"}, "layer1/end": {"module": "bam"}})
    assert both.id == place({"layer1/end": [{"module": "se"}, {"module": "bam"}]}).id
    assert both.id != place({"layer1/end": [{"module": "bam"}, {"module": "se"}]}).id


def test_a_dilation_beyond_the_map_is_the_same_network(place: Place) -> None:
    def at(dilation: int, size: int) -> Architecture:
        return place({"layer2/end": {"module": "bam", "dilation": dilation}}, input=size)

    # layer2 ends at half the resolution: 4x4 of 8x8.
    assert at(4, 8).id == at(5, 8).id
    assert at(4, 16).id != at(5, 16).id
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(at(4, 8).build().eval()(x), at(5, 8).build().eval()(x))


def test_plain_data_and_yaml_read_back_as_the_same_architecture(place: Place, tmp_path: Path) -> None:
    architecture = place(
        {
            "*/branch": [{"module": "se", "share": "1e3", "reduction": 8}, {"module": "eca", "init": "identity"}],
            "layer1.*/branch": {"module": "ba", "bridges": "first"},
            "layer2.*/branch": {"module": "none"},
            "layer1/end": {"module": "bam", "reduction": 4},
            "layer3.0/merge": {"module": "aff", "reduction": 4},
        }
    )
    data = json.loads(json.dumps(architecture.to_dict()))
    (tmp_path / "a.yaml").write_text(architecture.to_yaml())
    for again in (Architecture.from_dict(data), Architecture.load(tmp_path / "a.yaml")):
        assert again == architecture
        assert hash(again) == hash(architecture)
        assert again.id == architecture.id
    assert f"# architecture {architecture.id}\n" in architecture.to_yaml()


def test_a_description_is_read_and_does_not_count() -> None:
    described = read("description: the host alone\nhost: {name: resnet20}\nplacement:\n")
    assert described.description == "the host alone"
    assert described == read("host: {name: resnet20}")


def test_the_summary_says_in_one_line_what_stands_where(place: Place) -> None:
    eca = {"module": "eca", "kernel_size": 5, "init": "identity"}
    summary = place({"layer1.0/out": [{"module": "se"}, eca], "layer1/end": {"module": "se", "share": "g"}}).summary()
    first, second = summary.split("; ")
    assert first.startswith("layer1.0/out: se(reduction=16, bias=True, gate=sigmoid) + eca(kernel_size=5")
    assert first.endswith("init=identity)")
    assert second == "layer1/end: se(reduction=16, bias=True, gate=sigmoid, share=g)"
    assert place({}).summary() == "bare host"


def test_from_python_an_unknown_site_is_refused(tiny: dict[str, Any]) -> None:
    se = make_spec({"module": "se"})
    with pytest.raises(
        InputError, match=r"unknown site of resnet20 'layer4.0/branch'; .* did you mean 'layer3.0/branch'"
    ):
        Architecture.of(HostConfig(**tiny), {"layer4.0/branch": [se]})


@pytest.mark.parametrize(
    ("placement", "reason"),
    [
        ({"*/branch": {"module": "se", "share": "g"}}, "layer2.0/branch and layer1.0/branch .* 32 channels against 16"),
        (
            {
                "layer1.0/branch": {"module": "se", "share": "g"},
                "layer1.1/branch": {"module": "se", "share": "g", "bias": False},
            },
            r"cannot share a module \(group 'g'\): se\(.*bias=False.*\) against se\(.*bias=True",
        ),
    ],
)
def test_sites_that_cannot_share_are_refused(placement: dict[str, Any], reason: str, place: Place) -> None:
    with pytest.raises(InputError, match=reason):
        place(placement)


def test_a_gate_is_shared_between_places_with_and_without_sources(place: Place) -> None:
    se = {"module": "se", "share": "g"}
    network = place({"layer1.0/branch": se, "layer1.0/out": se}).build()
    assert [name.split(".")[1] for name, _ in network.named_parameters() if "squeeze.bias" in name] == [
        "layer1_0__branch"
    ]


def test_bridges_from_different_widths_are_not_shared(place: Place) -> None:
    ba = {"module": "ba", "share": "g"}
    # Both have 96 channels; one bridges its block's expansion to 96, the other two convolutions of 6 x 96.
    placement = {"features.2/after_conv2": ba, "features.12/branch": ba}
    with pytest.raises(InputError, match=r"bridges from \(576, 576\) channels against \(96,\)"):
        place(placement, name="mobilenet_v2", stem="cifar")


MISTAKES = {
    "an unknown module": ("layer1.0/branch: {module: sse}", 3, "branch.module: unknown module 'sse'; .* mean 'se'"),
    "an unknown knob": (
        "'*/branch':\n    module: se\n    reducton: 4",
        5,
        "branch.reducton: unknown knob of se .* mean 'reduction'",
    ),
    "a knob's type": ("'*/branch':\n    module: se\n    reduction: 4.0", 5, "branch.reduction: .*integer, got 4.0"),
    "a knob's range": (
        "'*/branch':\n    reduction: 0\n    module: se",
        4,
        "branch.reduction: .*greater than or equal to 1",
    ),
    "a knob too large": (
        "'*/branch':\n    module: se\n    reduction: 32",
        5,
        "branch.reduction: se does not fit layer1.0/branch: reduction 32 is above the 16 channels",
    ),
    "a knob in a list": (
        "'*/branch':\n  - module: se\n  - module: eca\n    kernel_size: 4",
        6,
        r"branch\[1\].kernel_size: ",
    ),
    "an init": ("'*/branch': {module: se, init: idntity}", 3, "branch.init: must be paper or identity, got 'idntity'"),
    "a group's name": ("'*/branch': {module: se, share: 3}", 3, "branch.share: must be the name of a group, got 3"),
    "no module": ("'*/branch': {reduction: 4}", 3, "branch: expected {module: <name>"),
    "text for a module": ("'*/branch': se", 3, r"branch: must be {key: value, ...} or a list, got 'se'"),
    "an empty list": ("'*/branch': []", 3, "branch: the list names no module; for an empty site write {module: none}"),
    "none among others": ("'*/branch': [{module: se}, {module: none}]", 3, "branch: {module: none} stands alone"),
    "none with a knob": ("'*/branch': {module: none, reduction: 4}", 3, "{module: none} stands alone"),
    "a place": ("'*/brnch': {module: se}", 3, r"the selector '\*/brnch' matches no site; .* did you mean '\*/branch'"),
    "a block": ("layer4.0/branch: {module: se}", 3, "matches no site; places here: .* did you mean 'layer3.0/branch'"),
    "a gate for a merge": (
        "'*/merge': {module: se}",
        3,
        r"se \(a gate\) does not fit layer1.0/merge; it goes to: after_conv",
    ),
    "a merge for a gate": (
        "'*/out': {module: aff}",
        3,
        r"aff \(a merge\) does not fit layer1.0/out; it goes to: merge",
    ),
    "a bridge to nothing": (
        "'*/after_conv1': {module: ba}",
        3,
        "there is no earlier convolution in the block to bridge",
    ),
    "two merges": (
        "'*/merge': [{module: aff}, {module: iaff}]",
        3,
        "only one module can replace .* layer1.0/merge, got 2",
    ),
    "a shared width": ("'*/out': {module: eca}\n  '*/branch': {module: se, share: g}", 4, "cannot share a module"),
    "a number as selector": ("3: {module: se}", 3, "must be a key that is text, got 3"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_by_file_line_and_key(mistake: str) -> None:
    text, line, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=rf"^a.yaml, line {line}: placement.*{message}") as error:
        read(f"host: {{name: resnet20}}\nplacement:\n  {text}\n")
    assert len(str(error.value)) < 250


def test_a_placement_that_is_a_list_says_what_is_expected() -> None:
    with pytest.raises(InputError, match=r"^a.yaml, line 2: placement: must be {key: value, ...}, got \['\*/branch'\]"):
        read("host: {name: resnet20}\nplacement: ['*/branch']")


def test_what_was_written_is_restored_to_the_same(place: Place) -> None:
    modules = [{"module": "cbam", "reduction": 2}, {"module": "se", "reduction": 4, "init": "identity"}]
    architecture = place({"*/branch": {"module": "eca"}, "layer1.0/branch": modules, "layer1/end": {"module": "bam"}})
    restored = Architecture.restore(json.loads(json.dumps(architecture.to_dict())))
    assert restored == architecture
    assert restored.hash == architecture.hash
    assert Architecture.restore(architecture.to_dict(), "known").hash == "known"


@pytest.mark.parametrize(
    ("site", "module", "message"),
    [("layer9/branch", "se", "matches no site"), ("layer1/end", "see", "did you mean 'se'")],
)
def test_what_cannot_be_restored_says_why(place: Place, site: str, module: str, message: str) -> None:
    data = place({}).to_dict() | {"placement": {site: {"module": module}}}
    with pytest.raises(InputError, match=message):
        Architecture.restore(data)
