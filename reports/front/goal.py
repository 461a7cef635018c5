"""What a study calls good, and its unit: accuracy, mIoU, or log-loss where that alone is an objective."""

from collections.abc import Iterable
from dataclasses import dataclass

from reports import wording
from reports.front.summary import Summary
from reports.objectives import OBJECTIVES
from reports.quality import Quality, Value, quality_of
from reports.statistics.intervals import Difference, Interval
from trials.record import TrialRecord


@dataclass(frozen=True)
class Goal:
    """The quality by which architectures are compared."""

    words: str
    value: Value
    maximise: bool
    quality: Quality
    """The share that is shown beside it, or that it is."""

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return 1.0 if self.maximise else -1.0

    @property
    def counts_images(self) -> bool:
        """Whether one image more or less is a fixed step of it."""
        return self.maximise and self.quality.counts_images

    @property
    def unit(self) -> str:
        """Of differences, as they are written."""
        return "points" if self.maximise else "nats"

    def step(self, record: TrialRecord) -> float:
        """Return what one validation image is worth; 0 where that is not the same for all images."""
        return self.quality.step(record) if self.maximise else 0.0

    def text(self, value: float) -> str:
        """Return a value with its unit: `93.12 %`, `0.241 nats`."""
        return f"{100 * value:.2f} %" if self.maximise else f"{value:.3f} nats"

    def interval(self, interval: Interval | None) -> str:
        """Return a mean with its interval and unit."""
        return wording.share(interval) if self.maximise else f"{wording.loss(interval)} nats"

    def size(self, value: float) -> str:
        """Return a spread or a distance: `0.41 points`, `0.012 nats`."""
        return f"{100 * value:.2f} points" if self.maximise else f"{value:.3f} nats"

    def change(self, value: float) -> str:
        """Return a signed difference without its unit: `+0.41`, `−0.012`."""
        return wording.signed(100 * value, 2) if self.maximise else wording.signed(value, 3)

    def difference(self, difference: Difference | None) -> str:
        """Return a difference with its interval, without its unit."""
        return wording.points(difference) if self.maximise else wording.nats(difference)


def goal_of(objectives: Iterable[str], records: Iterable[TrialRecord]) -> Goal:
    """Return what is good in a study with these objectives and records."""
    quality = quality_of(records)
    if "loss" in (given := set(objectives)) and not {"accuracy", "miou"} & given:
        return Goal("log-loss", OBJECTIVES["loss"].value, False, quality)
    return Goal(quality.words, quality.value, True, quality)


def goal_in(summary: Summary) -> Goal:
    """Return what is good in a summary."""
    return goal_of(summary.objectives, (record for item in summary.items for record in item.records))
