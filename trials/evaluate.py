"""Accuracy and log-loss of a network on images that live on its device; for pixels with classes, mIoU too."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trials.device_data import DeviceData
from trials.devices import Precision, free_memory
from trials.failure import is_out_of_memory
from trials.score import Score
from trials.segmentation import PixelTally


def evaluate_in_memory(
    model: nn.Module, data: DeviceData, *, index: Tensor | None = None, batch_size: int, precision: Precision
) -> Score:
    """Score as `evaluate` does; if memory runs out, once more with half the batch, which changes rounding only."""
    try:
        return evaluate(model, data, index=index, batch_size=batch_size, precision=precision)
    except Exception as error:
        if not is_out_of_memory(error) or batch_size == 1:
            raise
    free_memory(data.labels.device)  # here, since the error holds what was in memory
    return evaluate(model, data, index=index, batch_size=batch_size // 2, precision=precision)


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
    tally: _Tally | None = None
    try:
        for batch in torch.split(index, batch_size):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = model(data.normalise(data.images[batch])).float()
            tally = tally or _tally_for(data, logits)
            tally.add(logits, data.labels[batch], None if data.scales is None else data.scales[batch])
    finally:
        model.train(was_training)
    assert tally is not None, "nothing to score"
    return tally.score()


class _Tally(Protocol):
    """Adds batches up on the device."""

    def add(self, logits: Tensor, labels: Tensor, scales: Tensor | None) -> None: ...

    def score(self) -> Score: ...


def _tally_for(data: DeviceData, logits: Tensor) -> _Tally:
    if data.labels.ndim == 1:
        return _ImageTally()
    return PixelTally(logits.shape[1], logits.device, by_size=data.scales is not None)


class _ImageTally:
    """Counts images whose class was told, and adds up their losses."""

    def __init__(self) -> None:
        self._hits: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._total = 0

    def add(self, logits: Tensor, labels: Tensor, _: Tensor | None) -> None:
        self._losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        # argmax takes NaN for the largest: a broken network would be right once in every `classes` images.
        self._hits.append(((logits.argmax(1) == labels) & logits.isfinite().all(1)).sum())
        self._total += len(labels)

    def score(self) -> Score:
        # The only point where the host waits for the device.
        sums = torch.stack([torch.stack(self._hits).double().sum(), torch.stack(self._losses).double().sum()])
        num_hits, loss = sums.tolist()
        return Score(num_hits / self._total, loss / self._total)
