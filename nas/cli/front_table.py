"""The front beside the baselines on a terminal: as many columns as it has room for, the page has them all."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.cli.output import console, print_lines, print_table
from reports import FrontRow, StudyView, front_rows
from reports.wording import accuracy, amount, count, over_host, points


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[FrontRow], str]
    rank: int
    """Where there is no room, columns go by rank, the highest first; rank 0 always stays."""
    numeric: bool = True


_COLUMNS = (
    _Column("trial", lambda row: "" if row.number is None else str(row.number), 6),
    _Column("architecture", lambda row: row.name, 0, numeric=False),
    _Column("", lambda row: "knee" if row.is_knee else "front" if row.group == "front" else "", 0, numeric=False),
    _Column("validation", lambda row: accuracy(row.accuracy), 0),
    _Column("points over host", lambda row: points(row.accuracy_difference), 1),
    _Column(
        "verdict", lambda row: row.accuracy_difference.verdict if row.accuracy_difference else "", 4, numeric=False
    ),
    _Column("test", lambda row: accuracy(row.test_accuracy), 2),
    _Column("parameters", lambda row: count(row.params), 3),
    _Column("MACs", lambda row: amount(row.macs), 5),
    _Column("over host", lambda row: over_host(row.macs, row.host_macs or 0), 7),
    _Column("modules", lambda row: _modules(row), 8, numeric=False),
)
_GAP = 2


def _modules(row: FrontRow) -> str:
    """Return how many of which module there are: `se x9, bam x2`."""
    counts = Counter(spec.module for _, specs in row.architecture.items for spec in specs)
    return ", ".join(f"{module} x{number}" for module, number in counts.items()) or "none"


def print_front(view: StudyView) -> None:
    """Print the front and the baselines, or that there is nothing yet."""
    rows = front_rows(view)
    if not rows:
        print_lines("no trial has finished yet")
        return
    confirmed = rows[0].stage == "confirm"
    # A single training has no verdict and no test accuracy.
    columns = [column for column in _COLUMNS if confirmed or column.title not in ("verdict", "test")]
    columns = _fitting(columns, rows, console().width)
    how = f"means of up to {max(row.num_seeds for row in rows)} trainings" if confirmed else "single trainings"
    print_table(
        f"The front and the baselines: accuracies are {how} of {rows[0].epochs} epochs",
        [column.title for column in columns],
        [[column.cell(row) for column in columns] for row in rows],
        [column.title for column in columns if column.numeric],
    )


def _fitting(columns: Sequence[_Column], rows: Sequence[FrontRow], width: int) -> list[_Column]:
    """Leave out columns, the highest rank first, until the table is no wider than `width`."""
    sizes = {column: max(len(column.title), *(len(column.cell(row)) for row in rows)) for column in columns}
    kept = list(columns)
    while sum(sizes[column] + _GAP for column in kept) - _GAP > width:
        last = max(kept, key=lambda column: column.rank)
        if not last.rank:
            break
        kept.remove(last)
    return kept
