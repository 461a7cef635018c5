"""Mean intersection over union, counted over all pixels of a split.

Intersection over union of a class: pixels that have it and are given it, over pixels that have it or are given it
(Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015, section 2.2).
Summed over the whole split before dividing: it is not a mean over images.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from trials.scenes import SIZES
from trials.score import Score

IGNORED = 255
"""The label of pixels that count nowhere: VOC's outlines of objects."""


def mean_iou(confusion: Sequence[Sequence[int]] | Tensor, classes: Sequence[int]) -> float | None:
    """Return the mean over `classes` of their intersection over union; None if none of them occurs.

    Args:
        confusion: how many pixels of each class (rows) were given which class (columns); further columns are
            answers that are no class.
        classes: those to average over. One that no pixel has and none is given is left out.
    """
    counts = torch.as_tensor(confusion, dtype=torch.float64)
    hits = counts.diagonal()
    unions = counts.sum(1) + counts.sum(0)[: len(hits)] - hits
    shown = [each for each in classes if unions[each] > 0]
    return float((hits[shown] / unions[shown]).mean()) if shown else None


class PixelTally:
    """Counts pixels by their own class, the class they are given, and the size of the object they count with.

    Every pixel of the background counts with the object nearest to it, so that what is wrongly called a shape there is
    held against a size: the counts of the sizes add up to those of the whole split.
    """

    def __init__(self, num_classes: int, device: torch.device, *, by_size: bool) -> None:
        self._num_classes = num_classes
        self._num_sizes = len(SIZES) if by_size else 1
        # One more answer than classes: logits that are not finite. argmax takes NaN for the largest.
        self._counts = torch.zeros(self._num_sizes * num_classes * (num_classes + 1), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, logits_BKHW: Tensor, labels_BHW: Tensor, scales_BHW: Tensor | None) -> None:
        """Count a batch; nothing waits for the device."""
        counted = labels_BHW != IGNORED
        labels = labels_BHW.long()
        self._loss += F.cross_entropy(logits_BKHW, labels, reduction="sum", ignore_index=IGNORED).double()
        labels = labels.where(counted, 0)
        given = logits_BKHW.argmax(1).masked_fill(~logits_BKHW.isfinite().all(1), self._num_classes)
        sizes = 0 if scales_BHW is None else scales_BHW.long()
        kinds = ((sizes * self._num_classes + labels) * (self._num_classes + 1) + given).flatten()
        self._counts.scatter_add_(0, kinds, counted.flatten().long())

    def score(self, add_up: Callable[[Tensor], Tensor] = Tensor.cpu) -> Score:
        """Return what was counted; `add_up` brings a tensor to the CPU, and may add those of other processes to it."""
        # float64 holds every count that is met here.
        counts = add_up(self._counts.double()).reshape(self._num_sizes, self._num_classes, self._num_classes + 1)
        loss = float(add_up(self._loss))
        whole, num_pixels = counts.sum(0), int(counts.sum())
        shapes = range(1, self._num_classes)
        by_size = {name: mean_iou(part, shapes) for name, part in zip(SIZES, counts, strict=False)}
        return Score(
            int(whole.diagonal().sum()) / num_pixels,
            loss / num_pixels,
            mean_iou(whole, range(self._num_classes)),
            by_size if self._num_sizes > 1 else None,
        )
