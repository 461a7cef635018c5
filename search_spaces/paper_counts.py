"""The parameter counts that five papers print, beside those of the shipped placements.

The rows are data (library/counts/papers.yaml): every printed count that has been rebuilt, each once, with the
placements that have it, the host it waits for, or the reason why it cannot be had.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from search_spaces.architecture import Architecture
from search_spaces.config import Config
from search_spaces.cost import measure_cost
from search_spaces.errors import InputError
from search_spaces.shipped import ARCHITECTURES, find_file
from search_spaces.yaml_files import read_yaml, validate

UNITS = {"1e6": 10**6, "2^20": 2**20}
"""What a printed figure is multiplied with."""


class PrintedCount(Config):
    """A parameter count as one row of one table prints it."""

    paper: Literal["AFF", "AW", "BA", "BAM", "CAT"]
    """The paper, by its module."""
    table: str
    """T and the table's number, or README of the released code."""
    model: str
    """The row."""
    printed: str = Field(pattern=r"^\d+\.\d+$")
    """The figure, digit for digit."""
    unit: Literal["1e6", "2^20"]
    """What the figure counts; some papers divide by 2^20."""
    params: int = Field(ge=1)
    """Parameters of the network in an independent rebuilding."""
    architectures: list[str] = Field(default_factory=list)
    """The shipped placements of the row."""
    unused: int = Field(0, ge=0)
    """Parameters inside the printed figure that the released code makes and never uses."""
    left_out: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """From what our network has and the paper's has not, or does not train, to its parameters."""
    truncated: bool = False
    """The figure is cut off, not rounded."""
    waits_for: str | None = None
    """The host that the row needs and that is not available yet."""
    not_obtainable: str | None = None
    """Why the rebuilding does not give the printed figure."""

    @model_validator(mode="after")
    def _has_one_verdict(self) -> Self:
        verdicts = (
            bool(self.architectures) and self.not_obtainable is None,
            self.waits_for is not None,
            self.not_obtainable is not None,
        )
        if sum(verdicts) != 1:
            raise InputError("a row has placements, or a host that it waits for, or a reason why it is not obtainable")
        return self

    def as_printed(self, params: int) -> str:
        """Return a number of parameters in the row's unit, to its digits."""
        digits = Decimal(1).scaleb(-len(self.printed.partition(".")[2]))
        rounding = ROUND_DOWN if self.truncated else ROUND_HALF_UP
        counted = params + self.unused - sum(self.left_out.values())
        return str((Decimal(counted) / UNITS[self.unit]).quantize(digits, rounding))


class PrintedCounts(Config):
    """The file of them."""

    rows: list[PrintedCount]
    """By paper and table."""


@dataclass(frozen=True)
class Comparison:
    """A printed count beside ours."""

    row: PrintedCount
    params: tuple[int, ...]
    """The different counts of the row's placements: one, or none if there is no placement."""

    @property
    def ours(self) -> tuple[str, ...]:
        """`params` as the paper would print them."""
        return tuple(self.row.as_printed(params) for params in self.params)

    @property
    def kind(self) -> Literal["equal", "waits", "not obtainable", "NOT EQUAL"]:
        """What the comparison says; NOT EQUAL is a mistake of ours."""
        if self.row.not_obtainable:
            return "not obtainable"
        if self.row.waits_for:
            return "waits"
        return "equal" if self.ours == (self.row.printed,) else "NOT EQUAL"

    @property
    def verdict(self) -> str:
        """Say it for a reader."""
        if self.kind == "waits":
            return f"host not available yet: {self.row.waits_for}"
        if self.kind == "not obtainable":
            return f"not obtainable: {self.row.not_obtainable}"
        how = ["truncated"] if self.row.truncated else []
        how += [f"with {self.row.unused:,} unused parameters of the released code"] if self.row.unused else []
        how += [f"without {count:,} parameters: {what}" for what, count in self.row.left_out.items()]
        return self.kind + (f" ({', '.join(how)})" if how else "")


def printed_counts() -> list[PrintedCount]:
    """Return the printed counts, by paper and table. Raises InputError if the file is not well-formed."""
    path = Path(str(files("search_spaces").joinpath("library/counts/papers.yaml")))
    return validate(PrintedCounts, read_yaml(path)).rows


def compare(row: PrintedCount) -> Comparison:
    """Count the parameters of the row's placements, as `nas cost` does."""
    return Comparison(row, tuple(dict.fromkeys(_count(name) for name in row.architectures)))


@cache
def _count(name: str) -> int:
    return measure_cost(Architecture.load(find_file(name, "architecture", ARCHITECTURES))).params


def summarise(comparisons: Iterable[Comparison]) -> list[str]:
    """Return in lines how many counts are equal, wait for which hosts, are not obtainable, and are wrong."""
    comparisons = list(comparisons)
    kinds = Counter(each.kind for each in comparisons)
    hosts = Counter(each.row.waits_for for each in comparisons if each.kind == "waits")
    beside = sum(bool(each.params) for each in comparisons if each.kind == "not obtainable")
    lines = [
        f"{len(comparisons)} printed counts: {kinds['equal']} equal, {kinds['waits']} wait for a host, "
        f"{kinds['not obtainable']} not obtainable ({beside} of them with ours beside)"
    ]
    if hosts:
        lines.append("hosts waited for: " + ", ".join(f"{host} ({count})" for host, count in hosts.most_common()))
    if wrong := kinds["NOT EQUAL"]:
        lines.append(f"{wrong} that should be equal {'is' if wrong == 1 else 'are'} not")
    return lines
