"""Exporting trained networks in the formats that people deploy."""

from nas.export.errors import ExportError
from nas.export.exporting import DEFAULT_FORMATS, Exported, Wanted, export, export_retrained, export_study
from nas.export.formats import ALL, FORMATS
from nas.export.from_retrained import is_retrained
from nas.export.picking import KNEE, kept_training, pick_network
from nas.export.trained import Recorded, Trained, TrainedImages

__all__ = [
    "ALL",
    "DEFAULT_FORMATS",
    "FORMATS",
    "KNEE",
    "ExportError",
    "Exported",
    "Recorded",
    "Trained",
    "TrainedImages",
    "Wanted",
    "export",
    "export_retrained",
    "export_study",
    "is_retrained",
    "kept_training",
    "pick_network",
]
