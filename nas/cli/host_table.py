"""The hosts as a table, by paper: as many columns as the terminal has room for, pipes and JSON have them all."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from nas.cli.output import GAP, Column, console, fitting, print_lines
from nas.host_figures import HostFigures, Measured
from reports.wording import amount
from search_spaces.hosts import HostEntry

_RANKS = {
    "conv": 1,
    "after_conv": 6,
    "own": 1,
    "branch": 2,
    "merge": 4,
    "concat": 1,
    "out": 5,
    "end": 3,
    "lateral": 8,
    "output": 8,
}
"""The places in the order of their columns, and how soon each is left out for want of room: the highest first."""


@dataclass(frozen=True)
class Listed:
    """A host with its figures."""

    entry: HostEntry
    measured: Measured

    @property
    def sort_key(self) -> tuple[str, float]:
        """By family, as far as the name says it, then by size: resnet18 stands before resnet101."""
        family = re.split(r"\d", self.entry.name)[0]
        return family, self.measured.params if isinstance(self.measured, HostFigures) else math.inf


@dataclass(frozen=True)
class _Row:
    """A host whose figures are known."""

    entry: HostEntry
    figures: HostFigures


def print_hosts(listed: Sequence[Listed]) -> None:
    """Print hosts, one a line under their papers; one without figures has the reason on its line."""
    rows = [_Row(each.entry, each.measured) for each in listed if isinstance(each.measured, HostFigures)]
    all_columns = _columns(rows)
    width = console().width
    columns = fitting(all_columns, rows, width) if rows else all_columns[:1]
    widths = [column.width(rows) if rows else 0 for column in columns]
    widths[0] = max(len(each.entry.name) for each in listed)
    _print("", _line([column.title for column in columns], widths, columns))
    for paper, members in _by_paper(listed).items():
        _print("bold", *(["", paper] if paper else [""]))
        for each in members:
            if isinstance(each.measured, HostFigures):
                cells = [column.cell(_Row(each.entry, each.measured)) for column in columns]
                _print("", _line(cells, widths, columns))
            else:
                _print("", _one_line(f"{each.entry.name:<{widths[0]}}  {each.measured.reason}", width))
    left_out = [column.title for column in all_columns if column not in columns]
    if rows:
        print_lines("", "MACs are those of one image; under the places, the number of sites there.")
    if left_out and rows:
        print_lines(f"No room here for {', '.join(left_out)}: a wider terminal, a pipe and --json have them.")


def _columns(rows: Sequence[_Row]) -> list[Column[_Row]]:
    places = dict.fromkeys(place for row in rows for place in row.figures.sites)
    ordered = sorted(places, key=lambda place: list(_RANKS).index(place) if place in _RANKS else len(_RANKS))
    return [
        Column("host", lambda row: row.entry.name, 0, numeric=False),
        Column("parameters", lambda row: amount(row.figures.params), 0),
        Column("MACs", lambda row: amount(row.figures.macs), 0),
        *(_place_column(place) for place in ordered),
        Column("classes", lambda row: str(row.entry.classes), 7),
        Column("input", lambda row: str(row.entry.input), 7),
        Column("stems", lambda row: ", ".join(row.entry.stems), 9, numeric=False),
        Column("pretrained", lambda row: "yes" if row.entry.has_weights else "", 8, numeric=False),
    ]


def _place_column(place: str) -> Column[_Row]:
    return Column(place, lambda row: str(row.figures.sites.get(place, "")), _RANKS.get(place, 2))


def _by_paper(listed: Sequence[Listed]) -> dict[str, list[Listed]]:
    groups: dict[str, list[Listed]] = {}
    for each in listed:
        groups.setdefault(each.entry.paper, []).append(each)
    return {paper: sorted(members, key=lambda each: each.sort_key) for paper, members in groups.items()}


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column[_Row]]) -> str:
    aligned = [
        cell.rjust(width) if column.numeric else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return (" " * GAP).join(aligned).rstrip()


def _one_line(text: str, width: int) -> str:
    line = " ".join(text.splitlines())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def _print(style: str, *lines: str) -> None:
    for line in lines:
        console().print(Text(line), style=style, soft_wrap=True)
