"""How far a training is, and what is behind it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from trials.retrain.record import RetrainEpoch


@dataclass
class EpochSoFar:
    """How far an epoch is, in one process."""

    number: int = 1
    step: int = 0
    """Steps that are done."""
    loss_sum: float = 0.0
    """Over those steps and this process's parts."""
    train_s: float = 0.0
    waited_s: float = 0.0
    """Of that, for data."""
    lr: float = 0.0
    """Of the last step."""

    def images_per_s(self, batch_size: int) -> float:
        """Return the items of all processes per second."""
        return self.step * batch_size / max(self.train_s, 1e-9)

    @property
    def waiting_share(self) -> float:
        """Of the training's time, what was waited for data."""
        return self.waited_s / max(self.train_s, 1e-9)


@dataclass
class Past:
    """What is behind a training, over all of its runs."""

    history: list[RetrainEpoch] = field(default_factory=list)
    train_s: float = 0.0
    """Of whole epochs, scoring left out."""
    waited_s: float = 0.0
    wall_s: float = 0.0
    """Of earlier runs."""
    runs: int = 1
    warnings: list[str] = field(default_factory=list)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(self, epoch: EpochSoFar, result: RetrainEpoch) -> None:
        """Put an epoch behind."""
        self.history.append(result)
        self.train_s += epoch.train_s
        self.waited_s += epoch.waited_s

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Past":
        """Return what `to_dict` wrote."""
        return Past(**{**data, "history": [RetrainEpoch(**epoch) for epoch in data["history"]]})
