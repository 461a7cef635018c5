"""Print every parameter count of the five papers beside ours: `make papers`, or

    python benchmarks/papers.py

Ours is what `nas cost` says of the shipped placement. The exit status is 1 if a count that should be equal is not.
How to read the table: docs/papers.md.
"""

import sys

from nas.cli.output import print_lines, print_table
from search_spaces.paper_counts import UNITS, Comparison, compare, printed_counts, summarise

SYMBOLS = {"1e6": "M", "2^20": "x 2^20"}
assert set(SYMBOLS) == set(UNITS)


def main() -> int:
    comparisons = [compare(row) for row in printed_counts()]
    columns = ("paper", "table", "row", "printed", "ours", "our parameters", "verdict")
    print_table("", columns, map(_cells, comparisons), ("printed", "ours", "our parameters"))
    print_lines("", *summarise(comparisons))
    return int(any(each.kind == "NOT EQUAL" for each in comparisons))


def _cells(each: Comparison) -> tuple[str, ...]:
    row = each.row
    printed = f"{row.printed} {SYMBOLS[row.unit]}"
    params = ", ".join(f"{count:,}" for count in each.params)
    return row.paper, row.table, row.model, printed, ", ".join(each.ours), params, each.verdict


if __name__ == "__main__":
    sys.exit(main())
