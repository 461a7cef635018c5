"""The comparison as one self-contained page, its curves as PNG and SVG, and its tables as CSV."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from reports import style, wording
from reports.comparison.conditions import what_differs
from reports.comparison.groups import Group, Searched, Winner, group_studies
from reports.files.csv_files import Columns, write_csv
from reports.front.summary import Measured
from reports.front.tables import interval_of, naming
from reports.objectives import OBJECTIVES, QUALITY
from reports.rendering import plotly_js, template
from reports.view import StudyView
from search_spaces.errors import InputError

_MOST_POINTS = 400
"""Corners of a curve that are drawn; a curve of steps has seldom more."""


@dataclass(frozen=True)
class _Line:
    """A row of curves.csv."""

    study: str
    trials: int
    hours: float
    volume: float


def write_comparison(views: Sequence[StudyView], out: Path) -> Path:
    """Write comparison.html with studies.csv, curves.csv, winners.csv and figures; return the page's path.

    Studies under different conditions stand in sections of their own, and the page says what differs.

    Raises:
        InputError: fewer than two studies, or one twice.
    """
    if len({view.path for view in views}) < len(views) or len(views) < 2:
        raise InputError(f"a comparison takes two or more different studies, got {', '.join(v.path for v in views)}")
    groups = group_studies(views)
    out.mkdir(parents=True, exist_ok=True)
    searched = [study for group in groups for study in group.studies]
    write_csv(out / "studies.csv", [(group, study) for group in groups for study in group.studies], _STUDIES_CSV)
    write_csv(out / "curves.csv", [line for study in searched for line in _lines(study)], _CURVES_CSV)
    write_csv(out / "winners.csv", [winner for group in groups for winner in group.winners], _WINNERS_CSV)
    for number, group in enumerate(groups, 1):
        figure = draw_curves(group)
        for suffix in ("png", "svg"):
            figure.savefig(out / f"hypervolume_{number}.{suffix}")
    page = out / "comparison.html"
    page.write_text(render_comparison(groups), encoding="utf-8")
    return page


def render_comparison(groups: Sequence[Group]) -> str:
    """Return the page as HTML. Everything from the studies is escaped; nothing is loaded from elsewhere."""
    page = template("comparison.html", wording=wording, lines=_placement)
    return page.render(
        groups=groups,
        differences=[what_differs(groups[0].conditions, group.conditions) for group in groups],
        data={"groups": [_plot(group) for group in groups]},
        titles={name: objective.title for name, objective in OBJECTIVES.items()},
        plotly=plotly_js(),
    )


def draw_curves(group: Group) -> Figure:
    """Return the hypervolumes over trials and over training time side by side."""
    figure = Figure(figsize=(12.5, 4.4), dpi=160, layout="constrained", facecolor="white")
    for place, (title, over) in enumerate(
        (("Finished trials, baselines included", "trials"), ("Training time in hours, all workers together", "hours"))
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.grid(color=style.GRID, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        for study in group.studies:
            x = range(1, len(study.volumes) + 1) if over == "trials" else study.hours
            colour = _colour(group, study)
            axes.step(x, study.volumes, where="post", color=colour, linewidth=1.4, label=study.name)
        axes.set_xlabel(title)
        axes.set_ylabel("Hypervolume in the box of all")
        if place == 0 and any(study.volumes for study in group.studies):
            axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def _colour(group: Group, study: Searched) -> str:
    """Return one colour for each kind of search."""
    number = [kind.label for kind in group.kinds].index(study.kind)
    return style.MODULE_COLOURS[number % len(style.MODULE_COLOURS)]


def _lines(study: Searched) -> list[_Line]:
    pairs = zip(study.hours, study.volumes, strict=True)
    return [_Line(study.name, number, hours, volume) for number, (hours, volume) in enumerate(pairs, 1)]


def _plot(group: Group) -> dict[str, Any]:
    """Return what the page's script draws: curves, and each study's front."""
    objective = OBJECTIVES[next((name for name in QUALITY if name in group.objectives), group.quality.name)]
    scale = 1.0 if objective.name == "loss" else 100.0
    return {
        "quality": objective.title + (" (nats)" if objective.name == "loss" else " (%)"),
        "curves": [_curve(group, study) for study in group.studies],
        "fronts": [_front(group, study, objective.name, scale) for study in group.studies],
    }


def _curve(group: Group, study: Searched) -> dict[str, Any]:
    """Return the corners of a curve: where it rises, and its end."""
    volumes = study.volumes
    corners = [i for i in range(len(volumes)) if i == 0 or volumes[i] > volumes[i - 1] or i == len(volumes) - 1]
    kept = corners if len(corners) <= _MOST_POINTS else corners[:: len(corners) // _MOST_POINTS + 1] + corners[-1:]
    return {
        "name": html.escape(study.name),
        "colour": _colour(group, study),
        "trials": [i + 1 for i in kept],
        "hours": [round(study.hours[i], 5) for i in kept],
        "volumes": [round(volumes[i], 5) for i in kept],
    }


def _front(group: Group, study: Searched, quality: str, scale: float) -> dict[str, Any]:
    names = naming(study.view)
    items = study.summary.front
    intervals = [interval_of(item, OBJECTIVES[quality].value) for item in items]
    shown = [(item, interval) for item, interval in zip(items, intervals, strict=True) if interval]
    return {
        "name": html.escape(study.name),
        "colour": _colour(group, study),
        "y": [round(scale * interval.mean, 4) for _, interval in shown],
        "half": [
            None if interval.half_width is None else round(scale * interval.half_width, 4) for _, interval in shown
        ],
        "x": {
            cost: [None if (value := item.mean(OBJECTIVES[cost].value)) is None else float(value) for item, _ in shown]
            for cost in ("macs", "params", "latency_ms", "memory_bytes")
        },
        "hover": [
            "<br>".join(html.escape(line) for line in (item.name, *names.lines(item.architecture)[:12]))
            for item, _ in shown
        ],
    }


def _placement(study: Searched, item: Measured) -> str:
    return "; ".join(naming(study.view).lines(item.architecture))


_STUDIES_CSV: Columns[tuple[Group, Searched]] = {
    "study": lambda row: row[1].name,
    "path": lambda row: row[1].view.path,
    "conditions": lambda row: "; ".join(f"{key}: {value}" for key, value in row[0].conditions),
    "kind": lambda row: row[1].kind,
    "seed": lambda row: row[1].seed,
    "finished_trials": lambda row: len(row[1].volumes),
    "architectures": lambda row: row[1].num_architectures,
    "training_hours": lambda row: row[1].hours[-1] if row[1].hours else 0.0,
    "hypervolume": lambda row: row[1].volumes[-1] if row[1].volumes else None,
    "common_trials": lambda row: row[0].common_trials,
    "hypervolume_after_common_trials": lambda row: row[1].volume_after(row[0].common_trials),
}

_CURVES_CSV: Columns[_Line] = {
    "study": lambda row: row.study,
    "finished_trials": lambda row: row.trials,
    "training_hours": lambda row: row.hours,
    "hypervolume": lambda row: row.volume,
}

_WINNERS_CSV: Columns[Winner] = {
    "study": lambda row: row.study.name,
    "id": lambda row: row.item.architecture.id,
    "stage": lambda row: row.study.summary.stage,
    "seeds": lambda row: row.quality.n,
    "validation_quality_fraction": lambda row: row.quality.mean,
    "validation_quality_low_fraction": lambda row: row.quality.low,
    "validation_quality_high_fraction": lambda row: row.quality.high,
    "params": lambda row: row.item.records[0].params,
    "macs": lambda row: row.item.records[0].macs,
    "over_first_fraction": lambda row: row.difference.mean if row.difference else None,
    "over_first_low_fraction": lambda row: _bound(row, 0),
    "over_first_high_fraction": lambda row: _bound(row, 1),
    "pairs": lambda row: row.difference.n if row.difference else None,
    "p_value": lambda row: row.difference.p_value if row.difference else None,
    "verdict": lambda row: row.difference.verdict if row.difference else None,
    "reason": lambda row: row.reason or None,
}


def _bound(row: Winner, which: int) -> float | None:
    interval = row.difference.interval if row.difference else None
    return None if interval is None else (interval.low, interval.high)[which]
