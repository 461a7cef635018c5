"""Scoring a network at a task, in the precision that it is trained in."""

from typing import Any

import torch
from torch import nn

from trials.devices import Precision
from trials.retrain.place import Place
from trials.retrain.task import Task


def score(task: Task[Any], model: nn.Module, place: Place, precision: Precision) -> dict[str, float]:
    """Return the task's metrics of a bare network on the device; its mode is restored. Call it in all processes."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(place.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return task.evaluate(model)
    finally:
        model.train(was_training)
