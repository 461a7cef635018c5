"""Accuracy and log-loss of a network on images that live on its device."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trials.device_data import DeviceData
from trials.devices import Precision


@dataclass(frozen=True)
class Score:
    """How well a network does."""

    accuracy: float
    """Fraction of the images whose largest logit is that of their class; 0 if the logits are not finite."""
    loss: float
    """Mean negative log-likelihood in nats, without label smoothing."""


@torch.inference_mode()
def evaluate(
    model: nn.Module, data: DeviceData, *, index: Tensor | None = None, batch_size: int, precision: Precision
) -> Score:
    """Score a network in eval mode; its mode is restored.

    Args:
        model: on the device of the images.
        data: the images.
        index: the positions to score, all if None; at least one.
        batch_size: images at a time; the last batch may be smaller.
        precision: of the forward pass; loss and accuracy come from float32 logits.
    """
    device = data.labels.device
    index = torch.arange(len(data.labels), device=device) if index is None else index
    was_training = model.training
    model.eval()
    hits, losses = [], []
    for batch in torch.split(index, batch_size):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(data.normalise(data.images[batch])).float()
        labels = data.labels[batch]
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        # argmax takes NaN for the largest: a broken network would be right once in every `classes` images.
        hits.append(((logits.argmax(1) == labels) & logits.isfinite().all(1)).sum())
    model.train(was_training)
    total = len(index)
    # The only point where the host waits for the device.
    sums = torch.stack([torch.stack(hits).double().sum(), torch.stack(losses).double().sum()])
    num_hits, loss = sums.tolist()
    return Score(num_hits / total, loss / total)
