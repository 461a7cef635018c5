"""The figures as PNG and SVG, drawn by matplotlib from data computed elsewhere.

Figures are made without pyplot, so there is no global state and any thread may draw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from reports import style
from reports.drawing import figure_data
from reports.drawing.labels import place_labels
from reports.drawing.scatter import Axis, Mark, Panel, Scatter, staircase
from reports.findings.progress import HypervolumeCurve
from reports.findings.retrained import RetrainedGroup
from reports.front.placement import PlacementMap, Share

_DPI = 160
_LEFT, _RIGHT, _BOTTOM, _TOP, _BETWEEN = 0.75, 0.3, 0.55, 0.35, 0.85
"""Margins around the axes of a plot and between two of them, in inches.

They are set, and not found by matplotlib's layout engines, with which a figure is drawn five times for its two files.
"""
_MAP_FONT, _SLANT = 8, math.radians(30)
"""Of the map of placements: the size of its names in points, and the angle of its modules' names."""
_CROWD = 1000
"""Marks of one look from which on they are pixels in the SVG as well, which would be slow to open otherwise."""
_SHORT_NAMES = {"macs": "macs", "params": "params", "latency_ms": "latency", "memory_bytes": "memory"}
"""From an axis to how its figure's file is called."""


def write_figures(
    folder: Path,
    scatter: Scatter,
    placements: PlacementMap,
    curve: HypervolumeCurve,
    retrained: Sequence[RetrainedGroup] = (),
) -> list[Path]:
    """Write accuracy_macs, accuracy_params, ... (one for each cost), placement_map and hypervolume; return their paths.

    For each recipe that something was trained in full by, there is retrained_<recipe> too.

    Each is there as .png, as .svg, and its numbers as .csv. A figure without data says so in words. The first ones show
    log-loss where that, and not accuracy, is an objective; where it is mIoU, they are called miou_macs and so on.
    """
    shown = "miou" if scatter.quality.name == "miou" else "accuracy"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for cost in scatter.costs:
        name = f"{shown}_{_SHORT_NAMES[cost.name]}"
        paths += _save(folder, name, draw_scatter(scatter, cost))
        figure_data.write_scatter(folder / f"{name}.csv", scatter, cost)
    paths += _save(folder, "placement_map", draw_placements(placements))
    figure_data.write_placements(folder / "placement_map.csv", placements)
    paths += _save(folder, "hypervolume", draw_hypervolume(curve))
    figure_data.write_hypervolume(folder / "hypervolume.csv", curve)
    for group in retrained:
        paths += _save(folder, f"retrained_{group.recipe}", draw_retrained(group))
        figure_data.write_retrained(folder / f"retrained_{group.recipe}.csv", group)
    return paths


def _save(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write a figure in both formats."""
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    FigureCanvasAgg(figure).print_figure(paths[0], dpi=_DPI)
    FigureCanvasSVG(figure).print_figure(paths[1], dpi=_DPI, metadata={"Date": None})
    return paths


def draw_scatter(scatter: Scatter, cost: Axis) -> Figure:
    """Return quality against one cost, one panel per length of training."""
    num = max(1, len(scatter.panels))
    figure = _figure(7.2 if num == 1 else 12.5, 4.8)
    _lay_out(figure, num)
    pens = [_Pen(figure.add_subplot(1, num, i + 1), cost, scatter.quality) for i in range(len(scatter.panels))]
    for pen, panel in zip(pens, scatter.panels, strict=True):
        _draw_panel(pen, panel, maximise=scatter.maximise)
        shown = [mark for mark in panel.marks if cost.name in mark.costs]
        looks = ("host",) if panel.several_hosts else ("baseline", "host")
        named = [(mark.name, pen.point(mark)) for mark in shown if mark.look in looks]
        # Among a crowd there is no free place, and a name may stand on it.
        clear = shown if len(shown) <= _CROWD else [mark for mark in shown if mark.look not in ("trial", "stopped")]
        place_labels(pen.axes, named, [pen.point(mark) for mark in clear])
    if not pens:
        _draw_nothing(figure, "No trial has finished yet.")
    return figure


def _draw_panel(pen: "_Pen", panel: Panel, *, maximise: bool) -> None:
    pen.axes.set_title(panel.title, fontsize=10, loc="left", color=style.INK)
    pen.axes.set_xlabel(pen.cost.title)
    pen.axes.set_ylabel(pen.quality.title)
    _decorate(pen.axes)
    pen.steps(panel, maximise=maximise)
    pen.marks(panel.of("stopped"), style.STOPPED_SYMBOL, style.FADED, 18, "stopped early", alpha=0.6)
    pen.marks(panel.of("trial"), "circle", style.FADED, 16, "other architectures", alpha=0.45)
    pen.marks(panel.of("front"), "circle", style.FRONT, 42, "front")
    symbols = style.symbols_of(mark.name for mark in panel.of("baseline"))
    for family, symbol in symbols.items():
        marks = [mark for mark in panel.of("baseline") if style.family_of(mark.name) == family]
        pen.marks(marks, symbol, style.BASELINE, 48, family if panel.several_hosts else None)
    pen.marks(panel.of("host"), style.HOST_SYMBOL, style.BASELINE, 56)
    if pen.axes.get_legend_handles_labels()[0]:
        pen.axes.legend(fontsize=8, frameon=False, loc="lower right" if maximise else "upper right")


@dataclass(frozen=True)
class _Pen:
    """Draws marks of a panel in the units of its axes."""

    axes: Axes
    cost: Axis
    quality: Axis

    def point(self, mark: Mark) -> tuple[float, float]:
        return mark.costs[self.cost.name] * self.cost.scale, mark.quality * self.quality.scale

    def steps(self, panel: Panel, *, maximise: bool) -> None:
        corners = staircase(panel.finished, self.cost.name, maximise=maximise)
        if not corners:
            return
        right = max(mark.costs[self.cost.name] for mark in panel.marks if self.cost.name in mark.costs)
        x = [corner[0] * self.cost.scale for corner in corners] + [right * self.cost.scale]
        y = [corner[1] * self.quality.scale for corner in (*corners, corners[-1])]
        self.axes.step(x, y, where="post", color=style.FRONT, linewidth=1.4, alpha=0.8, zorder=2)

    def marks(
        self, marks: Sequence[Mark], symbol: str, colour: str, size: float, label: str | None = None, alpha: float = 1.0
    ) -> None:
        shown = [mark for mark in marks if self.cost.name in mark.costs]
        if not shown:
            return
        ends = [
            (self.point(mark)[0], mark.low * self.quality.scale, mark.high * self.quality.scale)
            for mark in shown
            if mark.low is not None and mark.high is not None
        ]
        if ends:
            self.axes.vlines(*zip(*ends, strict=True), color=colour, linewidth=1, alpha=0.6 * alpha, zorder=3)
        x, y = zip(*map(self.point, shown), strict=True)
        marker, edge = style.MARKERS[symbol], 1.0 if symbol == style.STOPPED_SYMBOL else 0.0
        if len(shown) > _CROWD:  # a line's markers are drawn several times as fast as a collection's
            look = {"markersize": size**0.5 / 2, "markeredgewidth": edge / 2, "alpha": alpha, "rasterized": True}
            self.axes.plot(x, y, marker, color=colour, label=label, zorder=4, **look)
            return
        # A baseline on the front gets the front's colour as its rim.
        rims = [style.FRONT if mark.on_front and mark.look != "front" else "white" for mark in shown]
        rim = {"linewidths": 1.0} if edge else {"edgecolors": rims, "linewidths": 1.0}
        self.axes.scatter(x, y, s=size, marker=marker, c=colour, alpha=alpha, zorder=4, label=label, **rim)


def draw_placements(placements: PlacementMap) -> Figure:
    """Return two maps side by side: how often each module stands at each site in the front, and among all trials."""
    height = 1.7 + 0.26 * max(4, len(placements.sites))
    figure = _figure(3.6 + 1.1 * max(4, len(placements.modules)), height)
    if not placements.sites:
        _draw_nothing(figure, "No finished architecture has a module.")
        return figure
    names, modules = _longest(placements.sites), _longest(placements.modules)
    _lay_out(figure, 2, left=names + 0.15, bottom=modules * math.sin(_SLANT) + 0.25, between=0.15)
    left = f"Front ({placements.num_front})"
    right = f"All of the search ({placements.num_everything})"
    for i, (title, table) in enumerate(((left, placements.front), (right, placements.everything))):
        axes = figure.add_subplot(1, 2, i + 1)
        _draw_map(axes, placements, table, title)
        if i:
            axes.set_yticklabels([])
    return figure


def _draw_map(axes: Axes, placements: PlacementMap, table: Sequence[Sequence[Share]], title: str) -> None:
    axes.imshow([[share.fraction for share in row] for row in table], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(table):
        for x, share in enumerate(row):
            if share.count:
                colour = "white" if share.fraction > 0.55 else style.INK
                axes.text(x, y, f"{share.fraction:.0%}", ha="center", va="center", fontsize=7, color=colour)
    modules, sites = placements.modules, placements.sites
    axes.set_xticks(range(len(modules)), modules, fontsize=_MAP_FONT, rotation=math.degrees(_SLANT), ha="right")
    axes.set_yticks(range(len(sites)), sites, fontsize=_MAP_FONT)
    axes.set_title(title, fontsize=10, loc="left", color=style.INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_hypervolume(curve: HypervolumeCurve) -> Figure:
    """Return the hypervolume after each finished trial, baselines marked."""
    figure = _figure(7.2, 3.6)
    _lay_out(figure)
    if not curve.values:
        _draw_nothing(figure, "No trial has finished yet.")
        return figure
    axes = figure.add_subplot(1, 1, 1)
    _decorate(axes)
    x = list(range(1, len(curve.values) + 1))
    axes.step(x, curve.values, where="post", color=style.FRONT, linewidth=1.6)
    marked = [i for i, baseline in enumerate(curve.baselines) if baseline]
    axes.scatter(
        [x[i] for i in marked], [curve.values[i] for i in marked], s=26, marker="s", c=style.BASELINE, zorder=3,
        label="baselines",
    )  # fmt: skip
    if marked:
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    axes.set_xlabel("Finished trials, baselines included")
    axes.set_ylabel("Hypervolume (share of the largest possible)")
    axes.set_title("Hypervolume of all trials so far", fontsize=10, loc="left", color=style.INK)
    return figure


def draw_retrained(group: RetrainedGroup) -> Figure:
    """Return the scores of full trainings against what the study measured, with the intervals of both."""
    figure = _figure(7.2, 4.8)
    _lay_out(figure)
    pairs = [(row, row.proxy) for row in group.rows if row.proxy]
    if not pairs:
        _draw_nothing(figure, "The study measured none of these architectures.")
        return figure
    axes = figure.add_subplot(1, 1, 1)
    _decorate(axes)
    for row, proxy in pairs:
        colour = style.BASELINE if row.is_baseline else style.FRONT
        axes.errorbar(
            [100 * proxy.mean],
            [100 * row.score.mean],
            xerr=[100 * (proxy.half_width or 0.0)],
            yerr=[100 * (row.score.half_width or 0.0)],
            fmt=style.MARKERS[style.HOST_SYMBOL if row.is_host else "circle"],
            color=colour,
            ecolor=style.FADED,
            elinewidth=1,
        )
    axes.set_xlabel(f"Validation {group.quality} in the study (%)")
    axes.set_ylabel(f"{group.metric} on the {group.split} split after {group.length} (%)")
    axes.set_title(f"Trained in full by {group.recipe}", fontsize=10, loc="left", color=style.INK)
    points = [(100 * proxy.mean, 100 * row.score.mean) for row, proxy in pairs]
    place_labels(axes, [(row.name, point) for (row, _), point in zip(pairs, points, strict=True)], points)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, facecolor="white")


def _lay_out(
    figure: Figure, columns: int = 1, left: float = _LEFT, bottom: float = _BOTTOM, between: float = _BETWEEN
) -> None:
    """Set the margins around and between the axes side by side that the figure will have, in inches."""
    width, height = figure.get_size_inches()
    axes_width = (width - left - _RIGHT - (columns - 1) * between) / columns
    figure.subplots_adjust(
        left=left / width,
        right=1 - _RIGHT / width,
        bottom=bottom / height,
        top=1 - _TOP / height,
        wspace=between / axes_width,
    )


def _longest(names: Sequence[str]) -> float:
    """Return the width of the longest name as the map of placements writes it, in inches."""
    return max(TextPath((0, 0), name, size=_MAP_FONT).get_extents().width for name in names) / 72


def _decorate(axes: Axes) -> None:
    axes.grid(color=style.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.07, 0.1)


def _draw_nothing(figure: Figure, text: str) -> None:
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color=style.FADED)
