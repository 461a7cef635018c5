"""The page's interactive plots as plain data for the page's script: rounded numbers and escaped text."""

import html
from collections.abc import Sequence
from typing import Any

from reports import style
from reports.progress import HypervolumeCurve
from reports.scatter import Axis, Mark, Panel, Scatter, staircase


def scatter_data(scatter: Scatter) -> dict[str, Any]:
    """Return the panels of quality against each cost, in drawn units."""
    return {
        "quality": scatter.quality.title,
        "costs": [{"name": axis.name, "title": axis.title} for axis in scatter.costs],
        "panels": [_panel(scatter, panel) for panel in scatter.panels],
    }


def hypervolume_data(curve: HypervolumeCurve) -> dict[str, Any]:
    """Return the curve with the places of the baselines."""
    return {
        "values": [_short(value) for value in curve.values],
        "baselines": [i for i, baseline in enumerate(curve.baselines) if baseline],
    }


def _panel(scatter: Scatter, panel: Panel) -> dict[str, Any]:
    symbols = style.symbols_of(mark.name for mark in panel.of("baseline"))
    groups = [_group(scatter, panel.of("stopped"), "stopped", "stopped early", style.STOPPED_SYMBOL)]
    groups.append(_group(scatter, panel.of("trial"), "trial", "other architectures", "circle"))
    groups.append(_group(scatter, panel.of("front"), "front", "front", "circle"))
    for family, symbol in symbols.items():
        marks = [mark for mark in panel.of("baseline") if style.family_of(mark.name) == family]
        groups.append(_group(scatter, marks, "baseline", family if len(marks) > 1 else marks[0].name, symbol))
    groups.append(_group(scatter, panel.of("host"), "baseline", "host", style.HOST_SYMBOL))
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
        "y": [_short(mark.quality * scale) for mark in marks],
        "half": [
            None if mark.low is None or mark.high is None else _short((mark.high - mark.low) / 2 * scale)
            for mark in marks
        ],
        "hover": ["<br>".join(html.escape(line) for line in mark.hover) for mark in marks],
        "x": {
            axis.name: [
                _short(mark.costs[axis.name] * axis.scale) if axis.name in mark.costs else None for mark in marks
            ]
            for axis in scatter.costs
        },
    }


def _steps(scatter: Scatter, panel: Panel, axis: Axis) -> dict[str, list[float]]:
    """Return the front of the two drawn quantities, level up to the dearest mark."""
    corners = staircase(panel.finished, axis.name, maximise=scatter.maximise)
    if corners:
        right = max(mark.costs[axis.name] for mark in panel.marks if axis.name in mark.costs)
        corners.append((right, corners[-1][1]))
    return {
        "x": [_short(cost * axis.scale) for cost, _ in corners],
        "y": [_short(quality * scatter.quality.scale) for _, quality in corners],
    }


def _short(value: float) -> float:
    """Return the value to seven significant digits, which is more than anyone sees."""
    return float(f"{value:.7g}")
