"""The numbers of an analysis as CSV; an empty cell for what is not known."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.analysis.analyse import Analysis
from reports.analysis.colla_factors import EXTERIOR, INTERIOR

Cell = str | int | float | bool | None

GATE_COLUMNS = (
    "site", "module", "stage", "read_from", "is_gate", "mean", "over_images", "over_positions", "over_channels",
    "movement_fraction", "between_classes_fraction", "wasted", "held_images", "held_predictions_changed",
)  # fmt: skip


def write_tables(found: Analysis, out: Path) -> None:
    """Write the tables of what applies; those of an earlier analysis that do not are deleted."""
    tables: dict[str, tuple[Sequence[str], list[list[Cell]]]] = {
        "gates": (GATE_COLUMNS, _gate_rows(found)),
        "class_weights": (("site", "class", "channel", "mean_weight"), _class_rows(found)),
        "selectivity": (
            ("stage", "network", "channel", "selectivity_index"),
            [
                [each.stage, each.network, channel, _known(value)]
                for each in found.selectivity
                for channel, value in enumerate(each.index)
            ],
        ),
        "bridge_importance": (
            ("site", "block", "feature", "gini", "relative"),
            [
                [each.site, each.block, *row]
                for each in found.importances
                if each.gini
                for row in zip(each.features, each.gini, each.relative, strict=True)
            ],
        ),
        "colla_factors": (
            ("depth", "site", *EXTERIOR, *INTERIOR),
            [
                [each.depth, each.site, *(each.factors.get(name) for name in (*EXTERIOR, *INTERIOR))]
                for each in found.factors
            ],
        ),
        "predictions": (
            ("image", "class", "network", "predicted", "softmax"),
            [
                [example.position, classes[example.label], each.network, classes[each.predicted[i]], each.scores[i]]
                for classes in [found.pictures.classes]
                for each in found.cams
                for i, example in enumerate(found.examples)
            ],
        ),
    }
    for name, (columns, rows) in tables.items():
        path = out / f"{name}.csv"
        if rows:
            _write(path, columns, rows)
        else:
            path.unlink(missing_ok=True)


def _write(path: Path, columns: Iterable[str], rows: Iterable[Sequence[Cell]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _gate_rows(found: Analysis) -> list[list[Cell]]:
    held = {each.site: each for each in found.frozen}
    return [
        [
            gate.site, gate.module, gate.stage, gate.read_from, gate.is_gate, gate.mean, gate.over_images,
            gate.over_positions, gate.over_channels, gate.movement, gate.between_classes, gate.is_wasted,
            held[gate.site].num_images, held[gate.site].num_changed,
        ]
        for gate in found.gates
    ]  # fmt: skip


def _class_rows(found: Analysis) -> list[list[Cell]]:
    return [
        [gate.site, name, channel, _known(value)]
        for gate in found.gates
        for name, means in zip(found.pictures.classes, gate.class_means, strict=True)
        for channel, value in enumerate(means)
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
