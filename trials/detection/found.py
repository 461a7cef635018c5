"""What a detector found in an image, as plain data that travels between processes."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from trials.detection.run_lengths import compressed


@dataclass(frozen=True)
class Found:
    """The detections in one image, in no order."""

    position: int
    """Of the image in its set."""
    boxes: list[list[float]]
    """Left, top, right, bottom of each in pixels of the image as it lies on disk."""
    labels: list[int]
    """Class of each, from 1."""
    scores: list[float]
    """Confidence of each, a fraction."""
    masks: list[str] | None = None
    """Compressed run lengths of each; None where no masks are predicted."""

    @staticmethod
    def of(position: int, output: dict[str, Tensor]) -> "Found":
        """Return what torchvision's detectors answer for an image; masks hold what is more likely than not."""
        masks = compressed(output["masks"][:, 0] > 0.5) if "masks" in output else None
        boxes, labels, scores = (output[name].float().cpu() for name in ("boxes", "labels", "scores"))
        return Found(position, boxes.tolist(), labels.long().tolist(), scores.tolist(), masks)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data; `Found(**data)` reads it back."""
        return asdict(self)
