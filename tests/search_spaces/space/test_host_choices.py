"""Several hosts in a space's file: which keys may list values, what is refused, how they are called and recorded."""

import json
import re

import pytest

from search_spaces import HostConfig, InputError
from search_spaces.space.host_choices import host_label, hosts_in_words
from search_spaces.space.space_config import SpaceConfig
from search_spaces.yaml_files import parse_yaml, validate

CHOICES = "choices:\n- at: '*/out'\n  modules: {se: {}}\n"


def read(host: str) -> SpaceConfig:
    return validate(SpaceConfig, parse_yaml(f"host: {host}\n{CHOICES}", "s.yaml"))


def test_listed_values_stand_for_every_combination() -> None:
    hosts = read("{width: [1, 0.5], name: [resnet20, resnet56], input: 16}").hosts
    assert [(host.name, host.width) for host in hosts] == [
        ("resnet20", 1.0),
        ("resnet20", 0.5),
        ("resnet56", 1.0),
        ("resnet56", 0.5),
    ]
    assert {(host.classes, host.input, host.stem) for host in hosts} == {(10, 16, "cifar")}


def test_stem_and_neck_may_be_listed_too() -> None:
    hosts = read("{name: resnet18, stem: [imagenet, cifar], neck: [null, fpn], classes: 4, input: 64}").hosts
    assert [(host.stem, host.neck) for host in hosts] == [
        ("imagenet", None),
        ("imagenet", "fpn"),
        ("cifar", None),
        ("cifar", "fpn"),
    ]


def test_a_host_is_called_by_what_is_not_usual_of_it() -> None:
    hosts = read("{name: [resnet20, resnet18], width: [0.5, 1.0], stem: cifar, classes: 10, input: 32}").hosts
    assert list(map(host_label, hosts)) == [
        "resnet20 width=0.5",
        "resnet20",
        "resnet18 stem=cifar width=0.5",
        "resnet18 stem=cifar",
    ]
    assert host_label(HostConfig(name="resnet18", neck="fpn")) == "resnet18 neck=fpn"
    assert hosts_in_words(hosts[:2]) == "resnet20 width=0.5, resnet20"
    assert hosts_in_words([*hosts, *hosts]) == "8 hosts"


@pytest.mark.parametrize(
    "host",
    [
        "{name: resnet20, channels: 1}",
        "{name: [resnet20], width: [0.5]}",
        "{name: [resnet56, resnet20], width: [0.5, 1.0]}",
        "{name: [resnet20, resnet18], classes: 10, input: 32}",  # whose stems differ by default
        "{name: resnet18, neck: [null, fpn]}",
    ],
)
def test_what_is_recorded_reads_back_as_the_same_hosts(host: str) -> None:
    config = read(host)
    recorded = config.to_dict()["host"]
    again = read(json.dumps(recorded))
    assert again.hosts == config.hosts
    assert again.to_dict()["host"] == recorded


def test_one_host_is_recorded_as_before_lists_existed() -> None:
    recorded = read("{name: resnet20, input: 8}").to_dict()["host"]
    assert recorded == {
        "name": "resnet20",
        "classes": 10,
        "input": 8,
        "channels": 3,
        "stem": "cifar",
        "pretrained": False,
    }
    assert read("{name: [resnet20], input: 8}").to_dict()["host"] == recorded


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("{name: [resnet20, resnt56]}", "host.name[1]: unknown host 'resnt56'"),
        ("{name: [resnet20, 3]}", "host.name[1]: must be text, got 3"),
        ("{name: []}", "host.name: must list values, each once, got []"),
        ("{name: resnet20, width: [1, 1.0]}", "host.width: must list values, each once, got [1, 1.0]"),
        ("{name: [resnet20, resnet56], width: [1.0, fast]}", "host.width[1]: must be a number, got 'fast'"),
        (
            "{name: resnet20, input: [16, 32]}",
            "host.input: must be one value for all hosts, got [16, 32]; lists are for name, stem, width, neck",
        ),
        ("{name: resnet20, classes: [2, 3]}", "host.classes: must be one value for all hosts, got [2, 3]"),
        ("{name: resnet20, channels: [1, 3]}", "host.channels: must be one value for all hosts, got [1, 3]"),
        ("{name: resnet50, pretrained: [true, false]}", "host.pretrained: must be one value for all hosts"),
        ("{name: resnet18, neck: fpn, head: [classify, segment]}", "host.head: must be one value for all hosts"),
        ("{name: [resnet20, resnet56], clases: 3}", "host.clases: unknown key; allowed: channels, classes"),
        ("{name: [resnet20, resnet56], clases: [3, 4]}", "host.clases: unknown key; allowed: channels, classes"),
        ("{width: [0.5, 1.0]}", "host: the key 'name' is missing"),
        (
            "{name: [resnet20, resnet18]}",
            "host: the hosts have different defaults for classes: 10 (resnet20), 1000 (resnet18); give `classes`",
        ),
        (
            "{name: [resnet20, resnet18], classes: 10}",
            "host: the hosts have different defaults for input: 32 (resnet20), 224 (resnet18); give `input`",
        ),
        (
            "{name: [resnet20, resnet18], stem: [imagenet, cifar], classes: 10, input: 32}",
            "host.stem[0]: resnet20 has no imagenet stem",
        ),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(host: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^s.yaml, line 1: {re.escape(message)}"):
        read(host)


def test_mistakes_in_the_hosts_stand_beside_those_elsewhere() -> None:
    text = "host: {name: [resnet20, resnt56]}\nchoices:\n- at: 3\n  modules: {se: {}}\n"
    with pytest.raises(InputError, match=r"line 1: host.name\[1\].*\n.*line 3: choices\[0\].at"):
        validate(SpaceConfig, parse_yaml(text, "s.yaml"))


def test_the_schema_allows_a_value_or_a_list_where_a_list_may_be() -> None:
    one, several = SpaceConfig.model_json_schema()["properties"]["host"]["oneOf"]
    assert one == {"$ref": "#/$defs/HostConfig"}
    listable = {key for key, value in several["properties"].items() if "array" in json.dumps(value.get("anyOf", []))}
    assert listable == {"name", "stem", "width", "neck"}
    assert several["properties"]["width"]["description"].startswith("Multiplies the channels")
