"""The figures of an analysis, drawn by matplotlib from what was found; without pyplot, so that any thread may draw."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reports import style
from reports.analysis.analyse import Analysis
from reports.analysis.bridge_importance import BridgeImportance
from reports.analysis.colla_factors import EXTERIOR, INTERIOR, CollaFactors
from reports.analysis.gates import SiteGate
from reports.analysis.selectivity import StageSelectivity
from trials.dataset import Images

_WIDTH = 8.6
_FACTOR_NAMES = {"alpha": "mean (α)", "beta": "maximum (β)", "gamma": "entropy (γ)", "w": ""}


def draw_gates(gates: Sequence[SiteGate]) -> Figure:
    """Return for each site the mean gate with its spread over images (thick) and over channels (thin)."""
    figure = _figure(_WIDTH, 1.3 + 0.3 * len(gates))
    axes = figure.add_subplot(1, 1, 1)
    _decorate(axes)
    modules = list(dict.fromkeys(_module(gate) for gate in gates))
    for y, gate in enumerate(gates):
        colour = style.module_colour(modules, _module(gate))
        for spread, width, alpha in ((gate.over_channels, 1.2, 0.9), (gate.over_images, 5.0, 0.45)):
            axes.plot([gate.mean - spread, gate.mean + spread], [y, y], color=colour, linewidth=width, alpha=alpha)
        face = "white" if gate.is_wasted else colour
        axes.scatter([gate.mean], [y], s=34, facecolors=face, edgecolors=colour, linewidths=1.4, zorder=3)
    for module in modules:
        axes.plot([], [], "o", color=style.module_colour(modules, module), label=module)
    if any(gate.is_wasted for gate in gates):
        axes.plot([], [], "o", markerfacecolor="white", markeredgecolor=style.INK, label="never moves")
    axes.set_yticks(range(len(gates)), [gate.site for gate in gates], fontsize=8)
    axes.set_ylim(len(gates) - 0.5, -0.5)
    axes.set_xlabel("Gate: mean; thick: ± spread over images; thin: ± spread over channels")
    axes.legend(fontsize=8, frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def draw_class_weights(found: Analysis) -> Figure:
    """Return the mean weight of each channel for some classes, for the last gate of each stage."""
    gates = found.class_weights
    columns = 1 if len(gates) == 1 else 2
    rows = -(-len(gates) // columns)
    figure = _figure(_WIDTH, 0.5 + 2.2 * rows)
    for i, gate in enumerate(gates):
        axes = figure.add_subplot(rows, columns, i + 1)
        _decorate(axes)
        for j, number in enumerate(found.shown_classes):
            colour = style.MODULE_COLOURS[j % len(style.MODULE_COLOURS)]
            name = found.pictures.classes[number]
            axes.plot(gate.class_means[number], color=colour, linewidth=1.1, label=name)
        axes.set_title(f"{gate.site}: {_module(gate)}", fontsize=9, loc="left", color=style.INK)
        axes.set_xlabel("Channel", fontsize=8)
        axes.set_ylabel("Mean weight", fontsize=8)
        axes.tick_params(labelsize=8)
    # The last panel holds the lines that all panels have.
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, frameon=False, ncols=8, loc="outside upper left")
    return figure


def draw_selectivity(selectivity: Sequence[StageSelectivity]) -> Figure:
    """Return histograms of the class selectivity index, a panel for each stage."""
    stages = list(dict.fromkeys(each.stage for each in selectivity))
    networks = list(dict.fromkeys(each.network for each in selectivity))
    figure = _figure(_WIDTH, 2.6)
    first: Axes | None = None
    for i, stage in enumerate(stages):
        axes = figure.add_subplot(1, len(stages), i + 1, sharey=first)
        first = first or axes
        _decorate(axes)
        for each in (each for each in selectivity if each.stage == stage):
            colour = (style.FRONT, style.BASELINE)[networks.index(each.network)]
            weights = np.full(len(each.known), 1 / max(1, len(each.known)))
            axes.hist(
                each.known, bins=np.linspace(0, 1, 21).tolist(), weights=weights, histtype="step", color=colour,
                linewidth=1.5, label=each.network,
            )  # fmt: skip
            if each.mean is not None:
                axes.axvline(each.mean, color=colour, linewidth=1, linestyle=":")
        axes.set_title(stage, fontsize=9, loc="left", color=style.INK)
        axes.set_xlabel("Selectivity index", fontsize=8)
        axes.tick_params(labelsize=8, labelleft=i == 0)
        if i == 0:
            axes.set_ylabel("Share of channels", fontsize=8)
            axes.legend(fontsize=7.5, frameon=False)
    return figure


def draw_importances(importances: Sequence[BridgeImportance]) -> Figure:
    """Return the heat map of blocks by bridged features, the largest of each block 1."""
    shown = [each for each in importances if each.gini]
    features = list(dict.fromkeys(name for each in shown for name in each.features if name != "own output"))
    features.append("own output")
    table = np.full((len(shown), len(features)), np.nan)
    for i, each in enumerate(shown):
        for name, value in zip(each.features, each.relative, strict=True):
            table[i, features.index(name)] = value
    figure = _figure(2.6 + 1.1 * len(features), 1.1 + 0.3 * len(shown))
    axes = figure.add_subplot(1, 1, 1)
    axes.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, x in np.argwhere(~np.isnan(table)):
        colour = "white" if table[y, x] > 0.55 else style.INK
        axes.text(x, y, f"{table[y, x]:.2f}", ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(features)), features, fontsize=8)
    axes.set_yticks(range(len(shown)), [each.block for each in shown], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_factors(factors: Sequence[CollaFactors]) -> Figure:
    """Return the exterior and interior factors over the depth, a panel for each kind."""
    panels = [("Exterior", EXTERIOR), ("Interior, channels", INTERIOR[:3]), ("Interior, positions", INTERIOR[3:])]
    panels = [(title, names) for title, names in panels if any(set(names) & set(each.factors) for each in factors)]
    figure = _figure(_WIDTH, 2.9)
    for i, (title, names) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        _decorate(axes)
        for j, name in enumerate(names):
            points = [(each.depth, each.factors[name]) for each in factors if name in each.factors]
            if points:
                label = f"{name} {_FACTOR_NAMES[name.split('_')[1]]}".strip()
                axes.plot(*zip(*points, strict=True), "o-", color=style.MODULE_COLOURS[j], markersize=4, label=label)
        axes.set_title(title, fontsize=9, loc="left", color=style.INK)
        axes.set_xlabel("CAT module, in network order", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7.5, frameon=False)
    return figure


def draw_maps(found: Analysis) -> Figure:
    """Return the images that are shown, beside them the attention maps over each."""
    titles = ["Image", *(f"{each.site}\n{each.module.split('(')[0]}" for each in found.maps)]

    def draw(axes: Axes, row: int, column: int, image: NDArray[np.float64]) -> str:
        if column == 0:
            return found.pictures.classes[found.examples[row].label]
        each = found.maps[column - 1]
        _overlay(axes, each.maps[row], image, each.low, each.high)
        return ""

    return _grid(found.example_pixels(), titles, draw)


def draw_cams(found: Analysis) -> Figure:
    """Return the images that are shown, beside them each network's Grad-CAM and answer; wrong ones in orange."""
    titles = ["Image", *(each.network for each in found.cams)]
    classes = found.pictures.classes

    def draw(axes: Axes, row: int, column: int, image: NDArray[np.float64]) -> str:
        label = found.examples[row].label
        if column == 0:
            return classes[label]
        each = found.cams[column - 1]
        heat = each.maps[row]
        _overlay(axes, heat, image, 0, float(heat.max()) or 1.0)
        wrong = "" if each.predicted[row] == label else "✗ "
        return f"{wrong}{classes[each.predicted[row]]} {each.scores[row]:.2f}"

    return _grid(found.example_pixels(), titles, draw)


def _grid(pixels: Images, titles: Sequence[str], draw: Callable[[Axes, int, int, NDArray[np.float64]], str]) -> Figure:
    """Return images in rows; `draw` adds to an image what its column shows and says what stands below."""
    # Pairs of rows side by side, so that few columns do not make a long figure.
    columns = len(titles)
    abreast = max(1, min(len(pixels), 6 // columns))
    rows = -(-len(pixels) // abreast)
    figure = _figure(1.45 * columns * abreast, 0.2 + 1.65 * rows)
    for number, image in enumerate(pixels):
        row, offset = divmod(number, abreast)
        shown = image.transpose(1, 2, 0).astype(np.float64) / 255
        for column, title in enumerate(titles):
            axes = figure.add_subplot(rows, columns * abreast, (row * abreast + offset) * columns + column + 1)
            axes.imshow(shown if shown.shape[2] == 3 else shown[:, :, 0], cmap="gray", vmin=0, vmax=1)
            below = draw(axes, number, column, shown)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.set_xlabel(below, fontsize=7.5, color=style.BASELINE if below.startswith("✗") else style.INK)
            if row == 0:
                axes.set_title(title, fontsize=7.5, color=style.INK)
    return figure


def _overlay(axes: Axes, heat: NDArray[np.float32], image: NDArray[np.float64], low: float, high: float) -> None:
    height, width = image.shape[:2]
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(heat, cmap="inferno", alpha=0.6, extent=edges, interpolation="bilinear", vmin=low, vmax=high)


def _module(gate: SiteGate) -> str:
    return gate.module.split("(")[0]


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=160, layout="constrained", facecolor="white")


def _decorate(axes: Axes) -> None:
    axes.grid(color=style.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
