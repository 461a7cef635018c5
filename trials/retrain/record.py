"""What a full training found, as plain data that goes into a file and comes back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from search_spaces import InputError

SCHEMA = 1
"""Version of `RetrainRecord.to_dict`."""


@dataclass(frozen=True)
class RetrainEpoch:
    """One epoch of a full training, and the scoring after it."""

    epoch: int
    """From 1."""
    step: int
    """Steps from the start of the training to the end of this epoch."""
    train_loss: float
    """Mean over the steps, with label smoothing and mixtures."""
    lr: float
    """The learning rate of the last step."""
    metrics: dict[str, float] | None
    """On the split that is reported on; None if the network was not scored after this epoch."""
    images_per_s: float
    """Training images of all processes per second of training, scoring left out."""
    waiting_share: float
    """Of the training's time, what the first process waited for data."""
    wall_s: float
    """Training and scoring."""


@dataclass(frozen=True, kw_only=True)
class RetrainRecord:
    """A network trained in full. `metrics` are those after the last epoch, never those of the best one."""

    architecture: dict[str, Any]
    architecture_id: str
    architecture_hash: str
    recipe_name: str
    recipe: dict[str, Any]
    """With every default filled in."""
    recipe_hash: str
    task: str
    seed: int
    metric: str
    """The one of `metrics` that counts."""
    maximise: bool
    """Whether more of it is better."""
    split: str
    """That `metrics` are of. Nothing was chosen by them."""
    metrics: dict[str, float]
    """After the last epoch; with `ema`, of the average of the weights."""
    history: tuple[RetrainEpoch, ...]
    params: int
    macs: int
    """At batch 1 and the host's `input`, see `search_spaces.measure_cost`."""
    num_train: int
    """Training items, each counted once."""
    data_sha256: str
    processes: int
    accumulation: int
    part_size: int
    """Items that a process computed at a time: batch norms saw so many."""
    device: str
    """In words."""
    precision: str
    compiling: str
    """Whether the network was compiled, and why."""
    versions: dict[str, str]
    images_per_s: float
    """Over all epochs."""
    waiting_share: float
    """Over all epochs."""
    wall_s: float
    """Over all runs, from start to end of each."""
    runs: int
    """How many times it was started."""
    warnings: tuple[str, ...]
    """What went wrong and was got over."""
    started_at: str
    """ISO 8601, UTC; of the first run."""
    schema: int = SCHEMA

    @property
    def score(self) -> float:
        """The metric that counts."""
        return self.metrics[self.metric]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data; `from_dict` reads it back."""
        return asdict(self) | {"history": [asdict(epoch) for epoch in self.history], "warnings": list(self.warnings)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "RetrainRecord":
        """Return the record that `to_dict` wrote. Raises InputError: another schema, or other keys."""
        if data.get("schema") != SCHEMA:
            raise InputError(f"a record of a retraining has schema {data.get('schema')!r}; this version reads {SCHEMA}")
        names = {field.name for field in fields(RetrainRecord)}
        if wrong := sorted(names ^ set(data)):
            raise InputError(f"a record of a retraining (schema {SCHEMA}) lacks or does not know: {', '.join(wrong)}")
        history = tuple(RetrainEpoch(**epoch) for epoch in data["history"])
        return RetrainRecord(**{**data, "history": history, "warnings": tuple(data["warnings"])})
