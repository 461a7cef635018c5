"""The share that tables, sentences and plots show first: accuracy, or mIoU where each pixel has a class."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trials.record import TrialRecord

Value = Callable[[TrialRecord], float | None]


@dataclass(frozen=True)
class Quality:
    """A share of what a network gets right, on the validation and on the test images."""

    name: str
    """Of the objective."""
    words: str
    """What a reader calls it, within a sentence."""
    value: Value
    test: Value
    counts_images: bool
    """Whether one image more or less is a fixed step of it."""

    def step(self, record: TrialRecord) -> float:
        """Return what one validation image is worth; 0 where that is not the same for all images."""
        return 1 / record.num_validation if self.counts_images and record.num_validation else 0.0

    def of_images(self, share: str) -> str:
        """Return a share in words with what it is a share of."""
        return f"{share} of the validation images right" if self is ACCURACY else f"{share} {self.words} in validation"


ACCURACY = Quality("accuracy", "accuracy", lambda r: r.accuracy, lambda r: r.test_accuracy, counts_images=True)
PIXEL_ACCURACY = Quality(
    "accuracy", "pixel accuracy", lambda r: r.accuracy, lambda r: r.test_accuracy, counts_images=False
)
MIOU = Quality("miou", "mIoU", lambda r: r.miou, lambda r: r.test_miou, counts_images=False)


def quality_of(records: Iterable[TrialRecord]) -> Quality:
    """Return what is shown of these records: mIoU where it was measured, else accuracy."""
    return MIOU if any(record.miou is not None for record in records) else ACCURACY


def accuracy_of(records: Iterable[TrialRecord]) -> Quality:
    """Return what accuracy is of these records: of images, or of pixels."""
    return PIXEL_ACCURACY if quality_of(records) is MIOU else ACCURACY
