"""Recipes that take seconds on one core."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from search_spaces import Architecture
from trials.detection.detection_recipe import DetectionRecipe
from trials.detection.segmentation_recipe import SegmentationRecipe
from trials.retrain.place import Place
from trials.retrain.task import Setting


def detection_recipe(**changes: Any) -> DetectionRecipe:
    """Return a recipe that is quick on one core: 3 steps an epoch of the scenes above."""
    quick = {
        "task": "detection", "head": "fasterrcnn", "data": {"source": "coco"}, "source": "a test",
        "size": 64, "longest": 64, "frozen_stages": 0, "batch_norm": "train", "epochs": 2, "batch_size": 4,
        "proposals": {"train": 50, "test": 20, "sampled": 16}, "optimizer": {"lr": 0.02, "clip_norm": 5.0},
    }  # fmt: skip
    return DetectionRecipe.model_validate({**quick, **changes})


def segmentation_recipe(**changes: Any) -> SegmentationRecipe:
    """Return a recipe of one epoch in 3 steps."""
    sets = {"source": "voc", "train": ["2007/trainval", "2012/trainval"], "val": "2007/test"}
    quick = {
        "task": "segmentation", "data": sets, "source": "a test", "size": 48, "epochs": 1, "batch_size": 4,
        "optimizer": {"lr": 0.02},
    }  # fmt: skip
    return SegmentationRecipe.model_validate({**quick, **changes})


def setting(architecture: Architecture, data_dir: Path, **changes: Any) -> Setting:
    """Return the setting of one process on the CPU."""
    return replace(Setting(architecture, 3, Place(torch.device("cpu")), "fp32", data_dir), **changes)
