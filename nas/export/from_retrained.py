"""A network that was trained in full, ready to be exported."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from nas.export.retrained_images import RetrainedImages
from nas.export.trained import Recorded, Trained, read_metadata
from search_spaces import Architecture
from search_spaces.errors import InputError
from search_spaces.hosts import DETECTORS
from trials.retrain import RetrainRecord, read_record
from trials.retrain.folder import ARCHITECTURE, RECIPE, WEIGHTS


def is_retrained(folder: str | Path) -> bool:
    """Return whether a folder is one that a training in full has written, finished or not."""
    return (Path(folder) / RECIPE).is_file()


def trained_of_folder(folder: Path, data_dir: str | None = None) -> Trained:
    """Return the network of a folder that `nas retrain` has written.

    Args:
        folder: the folder.
        data_dir: where the images are, if not where they were.

    Raises:
        InputError: the training has not come to its end, or files are missing or damaged.
    """
    record = read_record(folder)
    architecture, weights = Architecture.load(folder / ARCHITECTURE), folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights}: no such file of weights")
    return Trained(
        architecture=architecture,
        weights=weights,
        record=record.to_dict(),
        rows=_rows(record),
        origin=f"Trained in full in `{folder}` by the recipe {record.recipe_name}.",
        recorded=Recorded(record.metric, record.score, record.split, None, record.precision, record.device),
        images=RetrainedImages(folder, Path(data_dir) if data_dir else None),
        **_metadata(architecture, weights),
    )


def _metadata(architecture: Architecture, weights: Path) -> dict[str, Any]:
    """Return the classes, and what images are normalised with: by detectors nothing, since they do that themselves."""
    host = architecture.host
    if host.head not in DETECTORS:
        return read_metadata(weights)
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata() or {}
    classes = json.loads(metadata.get("classes", "null")) or [str(number) for number in range(host.classes)]
    return {"mean": (0.0,) * host.channels, "std": (1.0,) * host.channels, "classes": tuple(classes)}


def _rows(record: RetrainRecord) -> tuple[tuple[str, str], ...]:
    metrics = (
        (f"{record.split} {name}", f"{value:.4f}" if name == "loss" else f"{100 * value:.2f} %")
        for name, value in record.metrics.items()
    )
    return (
        *metrics,
        ("recipe", f"{record.recipe_name}, {len(record.history)} epochs, seed {record.seed}"),
        ("parameters", f"{record.params:,}"),
        ("FLOPs (MACs: convolutions and matrix products, one image)", f"{record.macs:,}"),
        ("training images", f"{record.num_train:,}"),
        ("trained on", f"{record.device}, {record.precision}"),
    )
