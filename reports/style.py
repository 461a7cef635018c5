"""Colours that people with any colour vision tell apart (Okabe and Ito, 2008), the same on paper and on the page."""

from collections.abc import Iterable, Sequence

MODULE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#8A8A5C")
"""For modules, in order; used again from the start when there are more."""
FRONT = "#0072B2"
BASELINE = "#D55E00"
FADED = "#8A8F98"
INK = "#1F2328"
GRID = "#E3E6EA"
SYMBOLS = ("square", "triangle-up", "diamond", "cross", "x", "triangle-down", "pentagon", "star", "hexagon")
"""For baselines, by plotly's names."""
MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle-up": "^",
    "diamond": "D",
    "cross": "P",
    "x": "X",
    "triangle-down": "v",
    "pentagon": "p",
    "star": "*",
    "hexagon": "h",
    "star-diamond": "d",
    "x-thin-open": "x",
}
"""The same by matplotlib's."""
HOST_SYMBOL = "star-diamond"
STOPPED_SYMBOL = "x-thin-open"


def module_colour(modules: Sequence[str], module: str) -> str:
    """Return the colour of a module among all the modules shown."""
    return MODULE_COLOURS[modules.index(module) % len(MODULE_COLOURS)]


def family_of(name: str) -> str:
    """Return what the marks of some baselines have in common.

    Of `random 1` and `random like d018601cb0` it is `random`, of `se everywhere r=8 (resnet56)` it is `se everywhere`,
    of `host width 1.06` it is `host width`.
    """
    name = name.partition(" (")[0].partition(" like ")[0]
    words = [word for word in name.split(" ") if "=" not in word]
    return " ".join(words).rstrip("0123456789. ") or name


def symbols_of(names: Iterable[str]) -> dict[str, str]:
    """Return a symbol for each family among these baselines."""
    families = dict.fromkeys(family_of(name) for name in names)
    return {family: SYMBOLS[i % len(SYMBOLS)] for i, family in enumerate(families)}
