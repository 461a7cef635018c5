"""How well a network does on the images of a split."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What is measured of a network; the last two of one that gives each pixel a class."""

    accuracy: float
    """Fraction of the images (segmentation: of the pixels) whose largest logit is that of their class; 0 if the logits
    are not finite."""
    loss: float
    """Mean negative log-likelihood of an image (a pixel) in nats, without label smoothing."""
    miou: float | None = None
    """Mean intersection over union of the classes, background included; see `trials.segmentation`."""
    miou_by_size: dict[str, float | None] | None = None
    """The same of the shapes alone, among the pixels that count with small, medium and large objects."""
