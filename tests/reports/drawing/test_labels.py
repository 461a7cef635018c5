"""Names beside marks that lie close together."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from reports.drawing.labels import place_labels

NAMED = [(f"{module} everywhere", (2.50 + 0.001 * i, 98.0 - 0.1 * i)) for i, module in enumerate("abcdefgh")]


def test_names_of_a_cluster_stand_clear_of_each_other_within_the_axes() -> None:
    figure = Figure(figsize=(7.2, 4.8), dpi=160)
    axes = figure.add_subplot()
    axes.scatter(*zip(*(point for _, point in NAMED), (2.6, 94.0), (2.49, 99.0), strict=True))
    place_labels(axes, NAMED, [point for _, point in NAMED])
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    boxes = [Text.get_window_extent(text, renderer) for text in names]
    assert {text.get_text() for text in names} == {name for name, _ in NAMED}
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max) for box in boxes)
    assert any(text.arrow_patch is not None for text in names)  # there is no room near the marks for all eight
