"""The shipped placements have the parameters that their papers print (search_spaces/library/counts)."""

import importlib.util
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas.cli import main
from search_spaces import Architecture, InputError
from search_spaces.paper_counts import Comparison, PrintedCount, PrintedCounts, compare, printed_counts, summarise
from search_spaces.shipped import ARCHITECTURES, find_file, shipped_names
from search_spaces.yaml_files import parse_yaml, validate

ROWS = printed_counts()
BUILT = [row for row in ROWS if row.architectures]

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.paper} {row.table} {row.model}")
each_built_row = pytest.mark.parametrize("row", BUILT, ids=lambda row: f"{row.paper} {row.table} {row.model}")
each_name = pytest.mark.parametrize("name", shipped_names(ARCHITECTURES))


def load(name: str) -> Architecture:
    return Architecture.load(find_file(name, "architecture", ARCHITECTURES))


def a_row(**fields: Any) -> PrintedCount:
    """Return a row that prints 1.25 million parameters."""
    row = {"paper": "BA", "table": "T1", "model": "a net", "printed": "1.25", "unit": "1e6", "params": 1_250_000}
    return PrintedCount(**(row | fields))


@each_built_row
def test_the_shipped_placements_have_the_parameters_of_their_row(row: PrintedCount) -> None:
    comparison = compare(row)
    assert comparison.params == (row.params + sum(row.left_out.values()),)
    assert comparison.kind == ("not obtainable" if row.not_obtainable else "equal")


@each_row
def test_the_expected_count_is_the_printed_figure_to_its_last_digit_unless_it_is_not_obtainable(
    row: PrintedCount,
) -> None:
    last_digit = 10 ** len(row.printed.partition(".")[2])
    unit = {"1e6": 1_000_000, "2^20": 1024 * 1024}[row.unit]
    scaled = (row.params + row.unused) * last_digit
    figure = scaled // unit if row.truncated else (2 * scaled + unit) // (2 * unit)
    assert (figure == int(row.printed.replace(".", ""))) is (row.not_obtainable is None)


@pytest.mark.parametrize("name", ["resnet50-ba", "mobilenet-v2-bam", "fasterrcnn-resnet50-se-nobias"])
def test_nas_cost_answers_with_the_expected_count(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nas", "cost", name, "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    answer = json.loads(capsys.readouterr().out)
    rows = [row for row in BUILT if name in row.architectures]
    assert {answer["params"]} == {row.params + sum(row.left_out.values()) for row in rows}


def test_every_shipped_placement_has_an_expected_count_and_every_count_a_placement() -> None:
    assert {name for row in BUILT for name in row.architectures} == set(shipped_names(ARCHITECTURES))


def test_no_two_shipped_placements_build_the_same_network() -> None:
    names = shipped_names(ARCHITECTURES)
    assert len({load(name).id for name in names}) == len(names)


@each_name
def test_a_shipped_placement_says_which_rows_of_which_tables_it_is(name: str) -> None:
    description = load(name).description
    for row in BUILT:
        if name in row.architectures:
            table = row.table.removeprefix("T")
            assert re.search(rf"\b{row.paper}\b[^;]*\btables? [^;]*\b{table}\b", description)


def test_a_printed_count_is_listed_once() -> None:
    listed = Counter((row.paper, row.table, row.model) for row in ROWS)
    assert [row for row, count in listed.items() if count > 1] == []


@pytest.mark.parametrize(
    "verdicts",
    [
        {},
        {"architectures": ["resnet50"], "waits_for": "a host"},
        {"waits_for": "a host", "not_obtainable": "why"},
    ],
)
def test_a_row_without_one_verdict_is_refused(verdicts: dict[str, Any]) -> None:
    row = {"paper": "BA", "table": "T1", "model": "a net", "printed": "1.25", "unit": "1e6", "params": 1_250_000}
    document = parse_yaml(json.dumps({"rows": [row | verdicts]}), name="papers.yaml")
    with pytest.raises(InputError, match=r"papers.yaml, line 1: rows\[0\]: .*a host that it waits for"):
        validate(PrintedCounts, document)


@pytest.mark.parametrize(
    ("row", "params", "ours", "verdict"),
    [
        (a_row(architectures=["a"]), 1_254_999, "1.25", "equal"),
        (a_row(architectures=["a"]), 1_255_000, "1.26", "NOT EQUAL"),
        (a_row(architectures=["a"], truncated=True), 1_259_999, "1.25", "equal (truncated)"),
        (a_row(architectures=["a"], unit="2^20"), 1_310_720, "1.25", "equal"),
        (
            a_row(architectures=["a"], unused=250_000),
            1_000_000,
            "1.25",
            "equal (with 250,000 unused parameters of the released code)",
        ),
        (
            a_row(architectures=["a"], left_out={"a head": 40_000, "a stem": 10_000}),
            1_300_000,
            "1.25",
            "equal (without 40,000 parameters: a head, without 10,000 parameters: a stem)",
        ),
        (a_row(architectures=["a"], not_obtainable="a slip"), 2_000_000, "2.00", "not obtainable: a slip"),
    ],
)
def test_a_count_is_compared_in_the_unit_and_to_the_digits_of_the_row(
    row: PrintedCount, params: int, ours: str, verdict: str
) -> None:
    comparison = Comparison(row, (params,))
    assert comparison.ours == (ours,)
    assert comparison.verdict == verdict


def test_placements_of_one_row_must_all_have_its_count() -> None:
    assert Comparison(a_row(architectures=["a", "b"]), (1_250_000, 1_400_000)).kind == "NOT EQUAL"


def test_the_summary_counts_every_verdict_and_every_host_that_is_waited_for() -> None:
    comparisons = [
        Comparison(a_row(architectures=["a"]), (1_250_000,)),
        Comparison(a_row(architectures=["a"]), (1,)),
        Comparison(a_row(waits_for="X"), ()),
        Comparison(a_row(waits_for="Y"), ()),
        Comparison(a_row(waits_for="Y"), ()),
        Comparison(a_row(not_obtainable="why"), ()),
        Comparison(a_row(not_obtainable="why", architectures=["a"]), (7,)),
    ]
    assert summarise(comparisons) == [
        "7 printed counts: 1 equal, 3 wait for a host, 2 not obtainable (1 of them with ours beside)",
        "hosts waited for: Y (2), X (1)",
        "1 that should be equal is not",
    ]


@pytest.fixture
def script() -> ModuleType:
    """`make papers`."""
    path = Path(__file__).parents[2] / "benchmarks/papers.py"
    spec = importlib.util.spec_from_file_location("papers_script", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_make_papers_prints_every_row_and_succeeds(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main() == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "paper"
    for row, line in zip(ROWS, lines, strict=False):
        assert line.startswith(row.paper)
        assert row.model in line
        assert f" {row.printed} " in line
    assert lines[len(ROWS)] == ""
    assert lines[len(ROWS) + 1].startswith(f"{len(ROWS)} printed counts: ")


def test_make_papers_fails_if_a_count_that_should_be_equal_is_not(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "printed_counts", lambda: [a_row(architectures=["resnet18"])])
    assert script.main() == 1
    assert re.search(r"1\.25 M +11\.69 +11,689,512 +NOT EQUAL", capsys.readouterr().out)
