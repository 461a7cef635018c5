"""Names beside the marks of a matplotlib plot, each where no other name or mark is."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from reports import style

Point = tuple[float, float]

_NEAR = ((8, 5), (8, -11), (-8, 5), (-8, -11), (0, 11), (0, -17))
_FAR = tuple((x, y) for far in (0, 18, 36) for y in (15 + far, -23 - far) for x in (16, -16, 34, 60))
"""Where a name may stand, in points from its mark, the best first; the far ones get a line."""
_MARK_PIXELS = 7
_ON_A_NAME, _OUTSIDE = 4, 40
"""How much worse than on a mark a name stands on another one, or beyond the axes."""


def place_labels(axes: Axes, named: Sequence[tuple[str, Point]], marks: Sequence[Point]) -> None:
    """Write the names beside their points, in data coordinates, clear of each other and of all marks.

    The highest come first. A name that is clear nowhere stands where it covers least. The axes keep their limits; they
    must have their final place in the figure already.
    """
    canvas = FigureCanvasAgg(_figure_of(axes))
    axes.autoscale_view()  # which otherwise waits for the first drawing
    axes.set_autoscale_on(False)
    pixels = [axes.transData.transform(mark) for mark in marks]
    size = 2 * _MARK_PIXELS
    boxes = [Bbox.from_bounds(x - _MARK_PIXELS, y - _MARK_PIXELS, size, size) for x, y in pixels]
    names: list[Bbox] = []
    for name, point in sorted(named, key=lambda entry: -entry[1][1]):
        names.append(_place(axes, canvas, name, point, boxes, names))


def _place(
    axes: Axes, canvas: FigureCanvasAgg, name: str, point: Point, marks: Sequence[Bbox], names: Sequence[Bbox]
) -> Bbox:
    """Write one name and return the box it fills, in pixels."""
    best: tuple[int, Annotation, Bbox] | None = None
    for offset in (*_NEAR, *_FAR):
        text = _annotate(axes, name, point, offset)
        box = _box_of(text, canvas)
        cost = sum(box.overlaps(mark) for mark in marks) + _ON_A_NAME * sum(box.overlaps(other) for other in names)
        cost += 0 if _inside(box, axes.bbox) else _OUTSIDE
        if best is not None and cost >= best[0]:
            text.remove()
            continue
        if best is not None:
            best[1].remove()
        best = (cost, text, box)
        if not cost:
            break
    assert best is not None
    return best[2]


def _box_of(text: Annotation, canvas: FigureCanvasAgg) -> Bbox:
    """Return the box of the words; an annotation's own has the line to its mark in it, which may cross anything."""
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)


def _annotate(axes: Axes, name: str, point: Point, offset: tuple[int, int]) -> Annotation:
    line = {"arrowstyle": "-", "color": style.FADED, "linewidth": 0.6} if offset in _FAR else None
    align = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
    return axes.annotate(
        name,
        point,
        offset,
        textcoords="offset points",
        ha=align,
        fontsize=8,
        color=style.INK,
        zorder=6,
        arrowprops=line,
    )


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure
