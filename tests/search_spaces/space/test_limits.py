"""Limits: numbers, and multiples of the bare host."""

import re

import pytest

from search_spaces import Cost, InputError
from search_spaces.space.limits import Bounds, LimitsConfig
from search_spaces.yaml_files import parse_yaml, validate

HOST = Cost(params=1000, macs=3_000_000)


def read(text: str) -> LimitsConfig:
    return validate(LimitsConfig, parse_yaml(text, "limits.yaml"))


def test_a_limit_is_a_number_or_a_multiple_of_the_host() -> None:
    bounds = Bounds.of(read("params: 1.03x host\nmacs: 2.5e6\nsites: 8"), lambda: HOST)
    assert bounds == Bounds(params=1030, macs=2_500_000, sites=8)
    assert Bounds.of(read("params: 2x host\nmacs: .5x host"), lambda: HOST) == Bounds(2000, 1_500_000)


@pytest.mark.parametrize("factor", ["1.1", "1.15", "1.001", "0.29"])
def test_a_multiple_is_worked_out_in_decimals(factor: str) -> None:
    # As floats, 1.15 x 100,000 is 114,999.99999999999.
    host = Cost(params=100_000, macs=1)
    assert Bounds.of(read(f"params: {factor}x host"), lambda: host).params == round(float(factor) * 1000) * 100


def test_any_limit_may_be_missing() -> None:
    bounds = Bounds.of(read("macs: 5"), lambda: HOST)
    assert (bounds.params, bounds.macs, bounds.sites) == (None, 5, None)
    assert bounds.any
    assert not Bounds.of(read("{}"), lambda: HOST).any


def test_limits_are_shown_in_words() -> None:
    assert str(Bounds(params=1_030_000, sites=2)) == "params <= 1,030,000, sites <= 2"
    assert str(Bounds()) == "no limits"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "params: 1.03 host",
            "line 1: params: a limit is a number, or a multiple such as `1.03x host`, got '1.03 host'",
        ),
        ("sites: 3\nmacs: -1", "line 2: macs: a limit cannot be negative, got -1"),
        ("params: -1x host", "line 1: params: a limit is a number, or a multiple"),
        ("params: true", "line 1: params: a limit is a number, or a multiple such as `1.03x host`, got True"),
        ("params: .inf", "line 1: params: a limit is a number, or a multiple such as `1.03x host`, got inf"),
        ("sites: 1.5", "line 1: sites: must be a whole number, got 1.5"),
        ("sites: 2x host", "line 1: sites: must be a whole number, got '2x host'"),
        ("parms: 3", "line 1: parms: unknown key; allowed: macs, params, sites; did you mean 'params'?"),
        ("params: [1]", "line 1: params: a limit is a number, or a multiple such as `1.03x host`, got [1]"),
    ],
)
def test_what_is_no_limit_is_refused_at_its_key(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^limits.yaml, {re.escape(message)}"):
        read(text)
