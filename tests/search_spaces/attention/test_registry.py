"""The registry: names, knobs, arguments, and how it answers mistakes."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field
from torch import nn

from search_spaces.attention import KINDS, check_knobs, create, effective, entry, names, register
from search_spaces.attention.identity import start_as_identity
from search_spaces.errors import InputError


def test_an_entry_tells_kind_places_paper_summary_and_knobs() -> None:
    bam = entry("bam")
    assert (bam.name, bam.kind) == ("bam", "gate")
    in_blocks, in_pyramids = ("after_conv*", "own*", "branch*", "concat*", "out", "end"), ("lateral*", "output*")
    assert bam.places == KINDS["gate"].places == (*in_blocks, *in_pyramids)
    assert "1807.06514" in bam.paper
    assert bam.summary.startswith("Bottleneck attention")
    assert bam.knobs["dilation"].default == 4
    assert "dilation" in bam.knobs["dilation"].description


@pytest.mark.parametrize("name", names())
def test_the_defaults_of_every_module_are_allowed_values(name) -> None:
    defaults = check_knobs(name, {})
    assert check_knobs(name, defaults) == defaults
    assert list(defaults) == list(entry(name).knobs)


def test_check_knobs_fills_in_defaults_in_the_order_of_the_signature() -> None:
    given = {"kernel_size": 3, "reduction": 8}
    expected = {"reduction": 8, "pooling": "avg+max", "spatial": True, "kernel_size": 3}
    assert list(check_knobs("cbam", given).items()) == list(expected.items())


def test_a_knob_says_what_it_may_be() -> None:
    assert entry("se").knobs["reduction"].type_text == "int >= 1"
    assert entry("se").knobs["bias"].type_text == "true | false"
    assert entry("cbam").knobs["pooling"].type_text == "avg | max | avg+max"
    assert entry("aff").knobs["factor"].type_text == "int >= 1 <= 2"


def test_an_unknown_module_is_answered_with_the_near_name() -> None:
    with pytest.raises(InputError, match=r"unknown module 'sse'; known: .*did you mean 'se'"):
        create("sse", channels=8)


def test_an_unknown_knob_is_answered_with_the_near_name() -> None:
    with pytest.raises(InputError, match=r"unknown knob of se 'redution'; known: .*did you mean 'reduction'"):
        create("se", channels=8, redution=4)


def test_an_unknown_value_is_answered_with_the_near_one() -> None:
    with pytest.raises(InputError, match=r"knob 'gate' of se: .*'hard-sigmoid'; did you mean 'hard_sigmoid'"):
        check_knobs("se", {"gate": "hard-sigmoid"})


@pytest.mark.parametrize(
    ("name", "knob", "value", "reason"),
    [
        ("se", "reduction", 0, "greater than or equal to 1, got 0"),
        ("se", "reduction", "16", "valid integer, got '16'"),
        ("se", "reduction", 16.0, "valid integer, got 16.0"),
        ("se", "reduction", True, "valid integer, got True"),
        ("se", "bias", 1, "valid boolean, got 1"),
        ("eca", "kernel_size", 4, "must be odd, .* 3 and 5, got 4"),
        ("cbam", "kernel_size", 2, "must be odd"),
        ("aff", "factor", 3, "less than or equal to 2, got 3"),
        ("bam", "num_dilated", 0, "greater than or equal to 1"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_the_reason(name, knob, value, reason) -> None:
    with pytest.raises(InputError, match=f"knob '{knob}' of {name}: .*{reason}"):
        check_knobs(name, {knob: value})


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("se", {}, "se is a gate: it needs channels, got nothing"),
        ("se", {"channels": 8, "source_channels": (8,)}, "needs channels, got channels=8, source_channels"),
        ("ba", {"channels": 16}, "ba is a bridge: it needs channels and source_channels"),
        ("ba", {"channels": 16, "source_channels": ()}, "there is none"),
        ("aff", {"channels": 0}, "channels must be 1 or more, got 0"),
        ("se", {"channels": 16, "init": "zero"}, "unknown init 'zero'; known: paper, identity"),
    ],
)
def test_arguments_that_do_not_fit_the_kind_are_refused(name, given, reason) -> None:
    with pytest.raises(InputError, match=reason):
        create(name, **given)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(InputError, match=r"two modules are registered as 'se': .*se.py: class SE and .*Again; rename"):

        @register("se", kind="gate", paper="nobody")
        class Again(nn.Module):
            """Another."""


class Good(nn.Module):
    """A gate."""

    def __init__(self, channels: int, *, size: Annotated[int, Field(description="a size")] = 3) -> None: ...


class NoDefault(nn.Module):
    """A gate."""

    def __init__(self, channels: int, *, size: int) -> None: ...


class NoType(nn.Module):
    """A gate."""

    def __init__(self, channels: int, *, size=3) -> None: ...


class ByPosition(nn.Module):
    """A gate."""

    def __init__(self, channels: int, size: int = 3) -> None: ...


class AnotherName(nn.Module):
    """A gate."""

    def __init__(self, dim: int) -> None: ...


class AnyKnob(nn.Module):
    """A gate."""

    def __init__(self, channels: int, **knobs: int) -> None: ...


class NoDocstring(nn.Module):
    def __init__(self, channels: int) -> None: ...


@pytest.mark.parametrize(
    ("cls", "name", "kind", "reason"),
    [
        (NoDefault, "mine", "gate", "knob size needs a default: size: <type> = <value>"),
        (NoType, "mine", "gate", "knob size needs a type: size: int = 3"),
        (ByPosition, "mine", "gate", r"\(channels, size\) by position.*come after a star: .*channels, \*, size=...\)"),
        (AnotherName, "mine", "gate", r"takes \(dim\) by position, it must take \(channels\) or \(channels, resol"),
        (AnyKnob, "mine", "gate", r"\*knobs and \*\*knobs are no knobs"),
        (NoDocstring, "mine", "gate", "it needs a docstring"),
        (Good, "mine", "gates", "unknown kind 'gates'; known: gate, .*did you mean 'gate'"),
        (Good, "none", "gate", "cannot be called 'none'"),
        (Good, "timm/mine", "gate", "cannot be called 'timm/mine'"),
        (Good, "my:own", "gate", "cannot be called 'my:own'"),
    ],
)
def test_a_class_that_cannot_be_a_module_is_refused_naming_its_file_and_class(cls, name, kind, reason) -> None:
    with pytest.raises(InputError, match=rf"test_registry.py: class {cls.__name__}: .*{reason}"):
        register(name, kind=kind, paper="nobody")(cls)
    assert name not in names()


@pytest.mark.parametrize("name", names())
def test_every_knob_of_a_shipped_module_is_described(name) -> None:
    assert all(knob.description for knob in entry(name).knobs.values())


def test_effective_refuses_what_create_refuses() -> None:
    with pytest.raises(InputError, match="reduction 32 is above the 16 channels"):
        effective("se", {"reduction": 32}, channels=16, resolution=(8, 8))
    with pytest.raises(InputError, match="unknown knob of eca 'reduction'"):
        effective("eca", {"reduction": 32}, channels=16, resolution=(8, 8))


def test_a_class_that_no_wrapper_serves_needs_its_own_way_to_start_as_the_identity() -> None:
    for kind in ("weights", "recurrent"):
        with pytest.raises(InputError, match="Identity cannot start as the identity: it has no method"):
            start_as_identity(kind, nn.Identity())


def test_a_class_that_asks_for_the_resolution_gets_it_and_others_do_not_mind() -> None:
    with pytest.raises(InputError, match=r"aa depends on the size of the map: it needs resolution=\(H, W\)"):
        create("aa", conv=nn.Conv2d(16, 16, 3, padding=1))
    assert isinstance(create("se", channels=16, resolution=(4, 4)), nn.Module)


def test_the_page_about_modules_names_every_one_of_them_under_its_kind() -> None:
    page = (Path(__file__).parents[3] / "docs" / "modules.md").read_text()
    rows = {kind: next(line for line in page.splitlines() if line.startswith(f"| {kind} ")) for kind in KINDS}
    assert [name for name in names() if f"`{name}`" not in rows[entry(name).kind]] == []
