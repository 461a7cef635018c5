"""What the commands print: tables for people, JSON for programs."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from search_spaces import HostConfig

Row = TypeVar("Row")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def console(*, errors: bool = False) -> Console:
    """Return a console on standard output, or on standard error; what is no terminal gets lines that do not wrap."""
    output = Console(highlight=False, soft_wrap=False, stderr=errors)
    return output if output.is_terminal else Console(highlight=False, width=10_000, stderr=errors)


def print_json(data: Any) -> None:
    """Print data as JSON, with NaN refused."""
    typer.echo(json.dumps(data, indent=2, allow_nan=False))


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Sequence[str] = (),
    *,
    errors: bool = False,
) -> None:
    """Print a table, on standard error with `errors`; the `numeric` columns are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", no_wrap=column in numeric)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    where = console(errors=errors)
    if title:
        where.print(title, style="bold", markup=False)
    with where.capture() as capture:
        where.print(table)
    for line in capture.get().splitlines():
        # What is not a terminal is as wide as its longest cell; no line needs its padding.
        where.file.write(line.rstrip() + "\n")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table that has more of them than some terminals have room for."""

    title: str
    cell: Callable[[Row], str]
    rank: int
    """Where there is no room, columns go by rank, the highest first; rank 0 always stays."""
    numeric: bool = True

    def width(self, rows: Iterable[Row]) -> int:
        """Return how wide its longest cell or its title is, in characters."""
        return max(len(self.title), *(len(self.cell(row)) for row in rows))


GAP = 2
"""Between the columns of a table, in characters."""


def fitting(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> list[Column[Row]]:
    """Leave out columns, the highest rank first, until the table of at least one row is no wider than `width`."""
    sizes = {column: column.width(rows) for column in columns}
    kept = list(columns)
    while sum(sizes[column] + GAP for column in kept) - GAP > width:
        last = max(kept, key=lambda column: column.rank)
        if not last.rank:
            break
        kept.remove(last)
    return kept


def program() -> str:
    """Return what to type for `nas` here: its name if that is found, else its path from the current folder.

    Where Python was told to run the module, as torchrun does, that.
    """
    here, found = Path(sys.argv[0]), shutil.which("nas")
    if here.name == "__main__.py":
        return "python -m nas"
    if not here.is_file() or (found and here.samefile(found)):
        return "nas"
    return os.path.relpath(here)


def print_lines(*lines: str, errors: bool = False) -> None:
    """Print lines of plain text, wrapped to a terminal's width; on standard error with `errors`."""
    for line in lines:
        console(errors=errors).print(line, markup=False)


def describe_host(host: HostConfig) -> str:
    """Return a host in a line."""
    return f"host {host.in_words}"
