"""The figures as PNG, drawn by matplotlib from data computed elsewhere.

Figures are made without pyplot, so there is no global state and any thread may draw.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from reports import style
from reports.placement import PlacementMap, Share
from reports.progress import HypervolumeCurve
from reports.scatter import Axis, Mark, Panel, Scatter, staircase

_DPI = 160
_OFFSETS = ((8, 5), (8, -11), (-8, 5), (-8, -11), (0, 11), (0, -17), (16, 15), (16, -23), (-16, 15), (-16, -23), (0, 24))
"""Where a label may stand, in points from its mark, the best first."""


def write_figures(folder: Path, scatter: Scatter, placements: PlacementMap, curve: HypervolumeCurve) -> list[Path]:
    """Write accuracy_macs.png, accuracy_params.png, placement_map.png and hypervolume.png; return their paths.

    A figure without data says so in words. The first two show log-loss where that, and not accuracy, is an objective.
    """
    by_name = {axis.name: axis for axis in scatter.costs}
    figures = {
        "accuracy_macs.png": draw_scatter(scatter, by_name["macs"]),
        "accuracy_params.png": draw_scatter(scatter, by_name["params"]),
        "placement_map.png": draw_placements(placements),
        "hypervolume.png": draw_hypervolume(curve),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        FigureCanvasAgg(figure).print_png(folder / name, metadata={"Software": "attention-placement-search"})
    return [folder / name for name in figures]


def draw_scatter(scatter: Scatter, cost: Axis) -> Figure:
    """Return quality against one cost, one panel per length of training."""
    num = max(1, len(scatter.panels))
    figure = _figure(7.2 if num == 1 else 12.5, 4.8)
    for i, panel in enumerate(scatter.panels):
        axes = figure.add_subplot(1, num, i + 1)
        _draw_panel(axes, scatter, panel, cost)
    if not scatter.panels:
        _draw_nothing(figure, "No trial has finished yet.")
    return figure


def _draw_panel(axes: Axes, scatter: Scatter, panel: Panel, cost: Axis) -> None:
    axes.set_title(panel.title, fontsize=10, loc="left", color=style.INK)
    axes.set_xlabel(cost.title)
    axes.set_ylabel(scatter.quality.title)
    _decorate(axes)
    _draw_steps(axes, scatter, panel, cost)
    symbols = style.symbols_of(mark.name for mark in panel.of("baseline"))
    looks = {
        "trial": ("other architectures", "circle", style.FADED, 16),
        "front": ("front", "circle", style.FRONT, 42),
    }
    for look in ("trial", "front"):
        marks = [mark for mark in panel.of("trial" if look == "trial" else "front") if cost.name in mark.costs]
        label, symbol, colour, size = looks[look]
        _draw_marks(axes, scatter, marks, cost, symbol, colour, size, label, faded=look == "trial")
    baselines = [mark for mark in panel.of("baseline", "host") if cost.name in mark.costs]
    for mark in baselines:
        symbol = style.HOST_SYMBOL if mark.look == "host" else symbols[style.family_of(mark.name)]
        _draw_marks(axes, scatter, [mark], cost, symbol, style.BASELINE, 48, None, faded=False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    _label(axes, scatter, cost, baselines, panel)


def _draw_steps(axes: Axes, scatter: Scatter, panel: Panel, cost: Axis) -> None:
    corners = staircase(panel.marks, cost.name, maximise=scatter.maximise)
    if not corners:
        return
    right = max(mark.costs[cost.name] for mark in panel.marks if cost.name in mark.costs)
    x = [corner[0] * cost.scale for corner in corners] + [right * cost.scale]
    y = [corner[1] * scatter.quality.scale for corner in (*corners, corners[-1])]
    axes.step(x, y, where="post", color=style.FRONT, linewidth=1.4, alpha=0.8, zorder=2)


def _draw_marks(
    axes: Axes,
    scatter: Scatter,
    marks: Sequence[Mark],
    cost: Axis,
    symbol: str,
    colour: str,
    size: float,
    label: str | None,
    *,
    faded: bool,
) -> None:
    if not marks:
        return
    scale = scatter.quality.scale
    x = [mark.costs[cost.name] * cost.scale for mark in marks]
    y = [mark.quality * scale for mark in marks]
    for i, mark in enumerate(marks):
        if mark.low is not None and mark.high is not None:
            bar = ([x[i], x[i]], [mark.low * scale, mark.high * scale])
            axes.plot(*bar, color=colour, linewidth=1, alpha=0.35 if faded else 0.55, zorder=3)
    edge = ["none" if faded else style.FRONT if mark.on_front and mark.look != "front" else "white" for mark in marks]
    alpha = 0.45 if faded else 1.0
    axes.scatter(
        x, y, s=size, marker=style.MARKERS[symbol], c=colour, edgecolors=edge, linewidths=1.0, alpha=alpha, zorder=4,
        label=label,
    )  # fmt: skip


def _label(axes: Axes, scatter: Scatter, cost: Axis, marks: Sequence[Mark], panel: Panel) -> None:
    """Name the baselines where no other name or mark is; a name that fits nowhere takes the first place."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes.set_autoscale_on(False)
    everything = [mark for mark in panel.marks if cost.name in mark.costs]
    to_pixels = axes.transData.transform
    spots = [to_pixels((m.costs[cost.name] * cost.scale, m.quality * scatter.quality.scale)) for m in everything]
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in spots]
    for mark in sorted(marks, key=lambda mark: -mark.quality):
        at = (mark.costs[cost.name] * cost.scale, mark.quality * scatter.quality.scale)
        tried = []
        for dx, dy in _OFFSETS:
            align = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = axes.annotate(
                mark.name, at, (dx, dy), textcoords="offset points", ha=align, fontsize=8, color=style.INK, zorder=6,
                arrowprops={"arrowstyle": "-", "color": style.FADED, "linewidth": 0.6} if abs(dy) > 12 else None,
            )  # fmt: skip
            box = text.get_window_extent(canvas.get_renderer())
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            tried.append((sum(box.overlaps(other) for other in taken) + 10 * (not inside), len(tried), text, box))
            if tried[-1][0] == 0:
                break
        chosen = min(tried, key=lambda candidate: candidate[:2])
        for candidate in tried:
            if candidate is not chosen:
                candidate[2].remove()
        taken.append(chosen[3])


def draw_placements(placements: PlacementMap) -> Figure:
    """Return two maps side by side: how often each module stands at each site in the front, and among all trials."""
    height = 1.7 + 0.26 * max(4, len(placements.sites))
    figure = _figure(3.6 + 1.1 * max(4, len(placements.modules)), height)
    if not placements.sites:
        _draw_nothing(figure, "No finished architecture has a module.")
        return figure
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
    axes.set_xticks(range(len(placements.modules)), placements.modules, fontsize=8, rotation=30, ha="right")
    axes.set_yticks(range(len(placements.sites)), placements.sites, fontsize=8)
    axes.set_title(title, fontsize=10, loc="left", color=style.INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_hypervolume(curve: HypervolumeCurve) -> Figure:
    """Return the hypervolume after each finished trial, baselines marked."""
    figure = _figure(7.2, 3.6)
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


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")


def _decorate(axes: Axes) -> None:
    axes.grid(color=style.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.07, 0.1)


def _draw_nothing(figure: Figure, text: str) -> None:
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color=style.FADED)
