"""The front beside the baselines on a terminal: as many columns as it has room for, the page has them all."""

from collections import Counter

from nas.cli.output import Column, console, fitting, print_lines, print_table
from reports import FrontRow, StudyView, front_rows
from reports.wording import amount, count, over_host, points, share

_COLUMNS: tuple[Column[FrontRow], ...] = (
    Column("trial", lambda row: "" if row.number is None else str(row.number), 6),
    Column("architecture", lambda row: row.name, 0, numeric=False),
    Column("host", lambda row: row.host, 2, numeric=False),
    Column("", lambda row: "knee" if row.is_knee else "front" if row.group == "front" else "", 0, numeric=False),
    Column("validation", lambda row: share(row.quality), 0),
    Column("points over host", lambda row: points(row.quality_difference), 1),
    Column("verdict", lambda row: row.quality_difference.verdict if row.quality_difference else "", 4, numeric=False),
    Column("test", lambda row: share(row.test_quality), 2),
    Column("parameters", lambda row: count(row.params), 3),
    Column("MACs", lambda row: amount(row.macs), 5),
    Column("over host", lambda row: over_host(row.macs, row.host_macs or 0), 7),
    Column("modules", lambda row: _modules(row), 8, numeric=False),
)


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
    left_out = (() if confirmed else ("verdict", "test")) + (() if rows[0].host else ("host",))
    columns = [column for column in _COLUMNS if column.title not in left_out]
    columns = fitting(columns, rows, console().width)
    how = f"means of up to {max(row.num_seeds for row in rows)} trainings" if confirmed else "single trainings"
    shown = "mIoUs are" if rows[0].miou else "accuracies are"
    print_table(
        f"The front and the baselines: {shown} {how} of {rows[0].epochs} epochs",
        [column.title for column in columns],
        [[column.cell(row) for column in columns] for row in rows],
        [column.title for column in columns if column.numeric],
    )
