"""What the commands print: tables for people, JSON for programs."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from search_spaces import HostConfig

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def console() -> Console:
    """Return a console on standard output; what is not a terminal gets lines that are never wrapped."""
    output = Console(highlight=False, soft_wrap=False)
    return output if output.is_terminal else Console(highlight=False, width=10_000)


def print_json(data: Any) -> None:
    """Print data as JSON, with NaN refused."""
    typer.echo(json.dumps(data, indent=2, allow_nan=False))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numeric: Sequence[str] = ()
) -> None:
    """Print a table; the `numeric` columns are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", no_wrap=column in numeric)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    where = console()
    if title:
        where.print(title, style="bold", markup=False)
    with where.capture() as capture:
        where.print(table)
    for line in capture.get().splitlines():
        # What is not a terminal is as wide as its longest cell; no line needs its padding.
        where.file.write(line.rstrip() + "\n")


def program() -> str:
    """Return what to type for `nas` here: its name if that is found, else its path from the current folder."""
    here, found = Path(sys.argv[0]), shutil.which("nas")
    if not here.is_file() or (found and here.samefile(found)):
        return "nas"
    return os.path.relpath(here)


def print_lines(*lines: str) -> None:
    """Print lines of plain text, wrapped to a terminal's width."""
    for line in lines:
        console().print(line, markup=False)


def describe_host(host: HostConfig) -> str:
    """Return a host in a line."""
    return (
        f"host {host.name}: {host.classes} classes, images {host.channels}x{host.input}x{host.input}, {host.stem} stem"
        + (", pretrained" if host.pretrained else "")
    )
