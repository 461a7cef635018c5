"""What the figures show, as rows of CSV files beside them, in natural units."""

from collections.abc import Iterator
from pathlib import Path

from reports.drawing.scatter import Axis, Mark, Panel, Scatter
from reports.files.csv_files import Columns, write_csv
from reports.findings.csv_columns import RETRAINED_CSV
from reports.findings.progress import HypervolumeCurve
from reports.findings.retrained import RetrainedGroup
from reports.front.placement import PlacementMap


def write_scatter(path: Path, scatter: Scatter, cost: Axis) -> None:
    """Write one row for each mark of each panel that has this cost."""
    quality = scatter.quality.name
    columns: Columns[tuple[Panel, Mark]] = {
        "stage": lambda row: row[0].stage,
        "id": lambda row: row[1].architecture.id,
        "name": lambda row: row[1].name,
        "mark": lambda row: row[1].look,
        "on_front": lambda row: row[1].on_front,
        cost.name: lambda row: row[1].costs[cost.name],
        quality: lambda row: row[1].quality,
        f"{quality}_low": lambda row: row[1].low,
        f"{quality}_high": lambda row: row[1].high,
    }
    rows = [(panel, mark) for panel in scatter.panels for mark in panel.marks if cost.name in mark.costs]
    write_csv(path, rows, columns)


def write_placements(path: Path, placements: PlacementMap) -> None:
    """Write one row for each site and module: how many architectures have it there, of how many that have the site."""
    columns: Columns[tuple[str | int, ...]] = {
        "site": lambda row: row[0],
        "module": lambda row: row[1],
        "front_count": lambda row: row[2],
        "front_total": lambda row: row[3],
        "search_count": lambda row: row[4],
        "search_total": lambda row: row[5],
    }
    write_csv(path, list(_placement_rows(placements)), columns)


def _placement_rows(placements: PlacementMap) -> Iterator[tuple[str | int, ...]]:
    for site, front, every in zip(placements.sites, placements.front, placements.everything, strict=True):
        for module, f, e in zip(placements.modules, front, every, strict=True):
            yield site, module, f.count, f.total, e.count, e.total


def write_hypervolume(path: Path, curve: HypervolumeCurve) -> None:
    """Write one row for each finished trial, in the order in which they finished."""
    columns: Columns[tuple[int, float, bool]] = {
        "finished_trials": lambda row: row[0],
        "hypervolume_share": lambda row: row[1],
        "baseline": lambda row: row[2],
    }
    rows = [(i + 1, *each) for i, each in enumerate(zip(curve.values, curve.baselines, strict=True))]
    write_csv(path, rows, columns)


def write_retrained(path: Path, group: RetrainedGroup) -> None:
    """Write one row for each architecture that was trained in full."""
    rows = [(group, row) for row in group.rows]
    write_csv(path, rows, RETRAINED_CSV)
