"""The shipped placements have the parameters that their papers print (paper_counts.yaml)."""

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Architecture, measure_cost
from search_spaces.shipped import ARCHITECTURES, find_file, shipped_names
from search_spaces.yaml_files import read_yaml

COUNTS = read_yaml(Path(__file__).with_name("paper_counts.yaml")).data
ROWS: list[dict[str, Any]] = COUNTS["rows"]
EXCLUDED: list[dict[str, Any]] = [row for group in COUNTS["exclusions"] for row in group["rows"]]
UNITS = {"1e6": 10**6, "2^20": 2**20}

LABELS = [f"{row['paper']} {row['table']} {row['model']}" for row in ROWS]

each_row = pytest.mark.parametrize("row", ROWS, ids=LABELS)
each_name = pytest.mark.parametrize("name", shipped_names(ARCHITECTURES))


def load(name: str) -> Architecture:
    return Architecture.load(find_file(name, "architecture", ARCHITECTURES))


@each_row
def test_a_shipped_placement_has_the_parameters_of_its_paper(row: dict[str, Any]) -> None:
    assert measure_cost(load(row["architecture"])).params == row["params"]


@each_row
def test_the_expected_count_is_the_printed_figure_to_its_last_digit(row: dict[str, Any]) -> None:
    counted = Decimal(row["params"] + row.get("unused", 0)) / UNITS[row["unit"]]
    decimals = row["printed"].partition(".")[2]
    assert str(round(counted, len(decimals))) == row["printed"]


@pytest.mark.parametrize("name", ["resnet50-ba", "mobilenet-v2-bam"])
def test_nas_cost_answers_with_the_expected_count(name: str) -> None:
    program = "from nas.cli import main; main()"
    command = [sys.executable, "-c", program, "cost", name, "--json"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert {answer["params"]} == {row["params"] for row in ROWS if row["architecture"] == name}


def test_every_shipped_placement_has_an_expected_count_and_every_count_a_placement() -> None:
    assert {row["architecture"] for row in ROWS} == set(shipped_names(ARCHITECTURES))


def test_no_two_shipped_placements_build_the_same_network() -> None:
    names = shipped_names(ARCHITECTURES)
    assert len({load(name).id for name in names}) == len(names)


@each_name
def test_a_shipped_placement_says_which_rows_of_which_tables_it_is(name: str) -> None:
    description = load(name).description
    for row in ROWS:
        if row["architecture"] == name:
            paper, table = row["paper"], row["table"].removeprefix("T")
            assert re.search(rf"\b{paper}\b[^;]*\btables? [^;]*\b{table}\b", description)


def test_a_printed_count_is_listed_once_either_expected_or_excluded_with_a_reason() -> None:
    listed = [(row["paper"], row["table"], row["model"]) for row in ROWS + EXCLUDED]
    assert len(set(listed)) == len(listed)
    assert all(group["reason"] and group["rows"] for group in COUNTS["exclusions"])
