"""The folder of an analysis: one self-contained page, its figures as PNG and SVG, its numbers as CSV."""

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports import wording
from reports.analysis import drawings
from reports.analysis.analyse import Analysis
from reports.analysis.csv_tables import write_tables
from reports.analysis.gates import WASTED_BELOW
from reports.analysis.sentences import THRESHOLD, gate_sentences, selectivity_sentences
from reports.rendering import template
from search_spaces.hosts import HostConfig

PAGE = "analysis.html"
_PICTURES = ("attention_maps", "grad_cam")
"""Figures of images: on the page as PNG, the others as SVG."""


def write_analysis(found: Analysis, out: Path) -> Path:
    """Write analysis.html, analysis.json, tables as CSV and figures as PNG and SVG; return the page's path.

    The folder is made if it is missing; files of an earlier analysis are replaced or deleted.
    """
    drawn = {name: (_png(figure), _svg(figure)) for name, figure in _draw(found).items()}
    images = {
        name: _as_url(png, "image/png") if name in _PICTURES else _as_url(svg, "image/svg+xml")
        for name, (png, svg) in drawn.items()
    }
    text, data = _render(found, images), json.dumps(as_data(found), indent=2, allow_nan=False)
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.png"), *folder.glob("*.svg")):
        old.unlink()
    for name, (png, svg) in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
        (folder / f"{name}.svg").write_bytes(svg)
    write_tables(found, out)
    (out / "analysis.json").write_text(f"{data}\n", encoding="utf-8")
    page = out / PAGE
    page.write_text(text, encoding="utf-8")
    return page


def as_data(found: Analysis) -> dict[str, Any]:
    """Return what was found as JSON-able data; what is not a number is None."""
    architecture = found.subject.architecture
    held = {each.site: each for each in found.frozen}
    gates = [
        {**asdict(gate), "movement": gate.movement, "is_wasted": gate.is_wasted, "held": _plain(held.get(gate.site))}
        for gate in found.gates
    ]
    data = {
        "id": architecture.id,
        "architecture": architecture.to_dict(),
        "images": {"part": found.pictures.part, "num": len(found.pictures), "of": found.pictures.num_in_part},
        "data_sha256": found.pictures.dataset.sha256,
        "accuracy": found.accuracy,
        "host_accuracy": found.host_accuracy,
        "wasted_below": WASTED_BELOW,
        "wasted": [gate.site for gate in found.wasted],
        "says": gate_sentences(found),
        "gates": gates,
        "unread": [asdict(each) for each in found.unread],
        "selectivity": [{**asdict(each), "mean": each.mean, "num_dead": each.num_dead} for each in found.selectivity],
        "importances": [asdict(each) for each in found.importances],
        "colla_factors": [asdict(each) for each in found.factors],
        "attention_maps": [each.site for each in found.maps],
        "grad_cam": [
            {"network": each.network, "stage": each.stage, "predicted": each.predicted, "scores": each.scores}
            for each in found.cams
        ],
        "examples": [asdict(each) for each in found.examples],
        "reasons": found.reasons,
    }
    cleaned: dict[str, Any] = _without_nan(data)
    return cleaned


def _plain(held: Any) -> Any:
    return None if held is None else asdict(held)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _draw(found: Analysis) -> dict[str, Figure]:
    """Return the figures of what applies, by their file names."""
    drawers: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "gates": (bool(found.gates), lambda: drawings.draw_gates(found.gates)),
        "class_weights": (bool(found.class_weights), lambda: drawings.draw_class_weights(found)),
        "selectivity": (bool(found.selectivity), lambda: drawings.draw_selectivity(found.selectivity)),
        "bridge_importance": (
            any(each.gini for each in found.importances),
            lambda: drawings.draw_importances(found.importances),
        ),
        "colla_factors": (bool(found.factors), lambda: drawings.draw_factors(found.factors)),
        "attention_maps": (bool(found.maps), lambda: drawings.draw_maps(found)),
        "grad_cam": (bool(found.cams), lambda: drawings.draw_cams(found)),
    }
    return {name: draw() for name, (applies, draw) in drawers.items() if applies}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, dpi=160, format="png")
    return buffer.getvalue()


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Names in the file would be random, and it would hold the time.
    with matplotlib.rc_context({"svg.hashsalt": "analysis"}):
        FigureCanvasSVG(figure).print_figure(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _as_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _render(found: Analysis, images: dict[str, str]) -> str:
    """Return the page as HTML; names from files are escaped, and nothing is loaded from elsewhere."""
    host: HostConfig = found.subject.architecture.host
    return template("analysis.html").render(
        found=found,
        architecture=found.subject.architecture,
        host=host,
        images={name: Markup(url) for name, url in images.items()},
        held={each.site: each for each in found.frozen},
        says=gate_sentences(found),
        threshold=THRESHOLD,
        chance=(len(set(found.pictures.labels.tolist())) - 1) / max(1, len(found.pictures) - 1),
        selectivity=selectivity_sentences(found),
        wording=wording,
    )
