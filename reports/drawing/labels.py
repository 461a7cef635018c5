"""Names beside the marks of a matplotlib plot, each where no other name or mark is."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from reports import style

Point = tuple[float, float]

_NEAR = ((8, 5), (8, -11), (-8, 5), (-8, -11), (0, 11), (0, -17))
_FAR = ((16, 15), (16, -23), (-16, 15), (-16, -23), (0, 24), (34, 5), (34, -11))
"""Where a name may stand, in points from its mark, the best first; the far ones get a line."""
_MARK_PIXELS = 7


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
    taken = [Bbox.from_bounds(x - _MARK_PIXELS, y - _MARK_PIXELS, size, size) for x, y in pixels]
    for name, point in sorted(named, key=lambda entry: -entry[1][1]):
        taken.append(_place(axes, canvas, name, point, taken))


def _place(axes: Axes, canvas: FigureCanvasAgg, name: str, point: Point, taken: Sequence[Bbox]) -> Bbox:
    """Write one name and return the box it fills, in pixels."""
    best: tuple[int, Annotation, Bbox] | None = None
    for offset in (*_NEAR, *_FAR):
        text = _annotate(axes, name, point, offset)
        box = text.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]
        cost = sum(box.overlaps(other) for other in taken) + (0 if _inside(box, axes.bbox) else 10)
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
