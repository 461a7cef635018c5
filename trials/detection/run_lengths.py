"""Masks as run lengths, COCO's way: down the columns, runs of 0 and 1 in turn, beginning with 0.

Uncompressed they are lists of numbers, which take no library to write; the compressed ones and polygons are read by the
evaluation's own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.detection.evaluator import coco_library


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask (H, W) as uncompressed run lengths."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [len(flat)]])
    counts = np.diff(bounds).tolist()
    return {"counts": [0, *counts] if flat[0] else counts, "size": list(mask.shape)}


def masks_of(outlines: Sequence[Any], height: int, width: int) -> Tensor:
    """Return segmentations as COCO writes them, polygons or run lengths, as masks (n, height, width), uint8."""
    if not outlines:
        return torch.zeros((0, height, width), dtype=torch.uint8)
    mask = coco_library().mask
    planes = [mask.decode(mask.segmToRle(outline, width, height)) for outline in outlines]
    return torch.from_numpy(np.stack(planes).astype(np.uint8))


def compressed(masks: Tensor) -> list[str]:
    """Return masks (n, H, W) of 0 and 1 as the texts of compressed run lengths."""
    planes = np.asfortranarray(masks.to(torch.uint8).cpu().numpy().transpose(1, 2, 0))
    found = coco_library().mask.encode(planes) if planes.shape[2] else []
    return [_as_text(each["counts"]) for each in found]


def _as_text(counts: bytes | str) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
