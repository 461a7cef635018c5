"""The page's interactive plots as plain data for the page's script: rounded numbers, and architectures by number.

Names that plotly draws are escaped, since it reads them as HTML; all other text is set as text by the script.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports import style
from reports.drawing.scatter import Axis, Mark, Panel, Scatter, staircase
from reports.findings.progress import HypervolumeCurve
from reports.findings.retrained import RetrainedGroup


def scatter_data(scatter: Scatter, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return the panels of quality against each cost, in drawn units.

    Args:
        numbers: from an architecture's hash to its place in `Outlines`.
    """
    return {
        "quality": scatter.quality.title,
        "costs": [{"name": axis.name, "title": axis.title} for axis in scatter.costs],
        "panels": [_panel(scatter, panel, numbers) for panel in scatter.panels],
    }


def hypervolume_data(curve: HypervolumeCurve) -> dict[str, Any]:
    """Return the curve with the places of the baselines."""
    return {
        "values": [short(value) for value in curve.values],
        "baselines": [i for i, baseline in enumerate(curve.baselines) if baseline],
    }


def retrained_data(groups: Sequence[RetrainedGroup]) -> list[dict[str, Any]]:
    """Return for each recipe its scores against the study's, in percent; architectures that the study lacks are left
    out."""
    return [_retrained(group) for group in groups]


def _retrained(group: RetrainedGroup) -> dict[str, Any]:
    pairs = [(row, row.proxy) for row in group.rows if row.proxy]

    def percents(values: Sequence[float | None]) -> list[float | None]:
        return [None if value is None else round(100 * value, 4) for value in values]

    return {
        "x_title": f"Validation {group.quality} in the study (%)",
        "y_title": f"{html.escape(group.metric)} in full (%)",
        "names": [html.escape(row.name) for row, _ in pairs],
        "hosts": [row.is_host for row, _ in pairs],
        "baselines": [row.is_baseline for row, _ in pairs],
        "x": percents([proxy.mean for _, proxy in pairs]),
        "x_low": percents([proxy.low for _, proxy in pairs]),
        "x_high": percents([proxy.high for _, proxy in pairs]),
        "y": percents([row.score.mean for row, _ in pairs]),
        "y_low": percents([row.score.low for row, _ in pairs]),
        "y_high": percents([row.score.high for row, _ in pairs]),
    }


def _panel(scatter: Scatter, panel: Panel, numbers: Mapping[str, int]) -> dict[str, Any]:
    def group(marks: Sequence[Mark], look: str, name: str, symbol: str) -> dict[str, Any]:
        return _group(scatter, marks, look, name, symbol) | {"placed": [numbers[m.architecture.hash] for m in marks]}

    symbols = style.symbols_of(mark.name for mark in panel.of("baseline"))
    groups = [group(panel.of("stopped"), "stopped", "stopped early", style.STOPPED_SYMBOL)]
    groups.append(group(panel.of("trial"), "trial", "other architectures", "circle"))
    groups.append(group(panel.of("front"), "front", "front", "circle"))
    for family, symbol in symbols.items():
        marks = [mark for mark in panel.of("baseline") if style.family_of(mark.name) == family]
        groups.append(group(marks, "baseline", family if len(marks) > 1 else marks[0].name, symbol))
    groups.append(group(panel.of("host"), "baseline", "host", style.HOST_SYMBOL))
    return {
        "stage": panel.stage,
        "groups": [group for group in groups if group["y"]],
        "steps": {axis.name: _steps(scatter, panel, axis) for axis in scatter.costs},
    }


def _group(scatter: Scatter, marks: Sequence[Mark], look: str, name: str, symbol: str) -> dict[str, Any]:
    scale = scatter.quality.scale
    return {
        "name": html.escape(name),
        "look": look,
        "symbol": symbol,
        "names": [html.escape(mark.name) for mark in marks] if look == "baseline" else [],
        "front": [mark.on_front for mark in marks],
        "y": [short(mark.quality * scale) for mark in marks],
        "half": [
            None if mark.low is None or mark.high is None else short((mark.high - mark.low) / 2 * scale)
            for mark in marks
        ],
        "facts": ["\n".join(mark.facts) for mark in marks],
        "x": {
            axis.name: [
                short(mark.costs[axis.name] * axis.scale) if axis.name in mark.costs else None for mark in marks
            ]
            for axis in scatter.costs
        },
    }


def _steps(scatter: Scatter, panel: Panel, axis: Axis) -> dict[str, list[float | None]]:
    """Return the front of the two drawn quantities, level up to the dearest mark."""
    corners = staircase(panel.finished, axis.name, maximise=scatter.maximise)
    if corners:
        right = max(mark.costs[axis.name] for mark in panel.marks if axis.name in mark.costs)
        corners.append((right, corners[-1][1]))
    return {
        "x": [short(cost * axis.scale) for cost, _ in corners],
        "y": [short(quality * scatter.quality.scale) for _, quality in corners],
    }


def short(value: float | None) -> float | None:
    """Return the value to seven significant digits, which is more than anyone sees; None for what is not finite."""
    return float(f"{value:.7g}") if value is not None and math.isfinite(value) else None
