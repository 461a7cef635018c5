"""What one trial found, as plain data that goes into a study and comes back."""

from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from search_spaces import InputError
from trials.failure import RETRYABLE, Failure
from trials.latency import Latency

SCHEMA = 4
"""Version of `TrialRecord.to_dict`. 2 has `miou` and the like, which are None for what 1 could measure; 3 has
`first_epoch`, which was always 1; 4 has `failure` (None: not told), `accumulation` (always 1) and `warnings`."""
_READ = (1, 2, 3, SCHEMA)
_NEW_IN_2 = ("miou", "miou_by_size", "test_miou", "test_miou_by_size", "compiling")


@dataclass(frozen=True, slots=True)  # a study holds hundreds of thousands
class EpochResult:
    """One epoch of training and the validation after it."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the steps, with label smoothing and mixtures, in nats."""
    accuracy: float
    """On the validation images, a fraction; of pixels where each pixel has a class."""
    loss: float
    """Log-loss on the validation images, in nats, without label smoothing; per image or per pixel."""
    lr: float
    """The learning rate of the last step."""
    wall_s: float
    """Training and validation."""
    miou: float | None = None
    """Mean intersection over union on the validation images, a fraction; None unless each pixel has a class."""


_EPOCH = tuple(field.name for field in fields(EpochResult))


@dataclass(frozen=True, kw_only=True, slots=True)  # and ten thousand of these
class TrialRecord:
    """One training and measuring of one architecture with one seed."""

    architecture: dict[str, Any]
    """As `Architecture.to_dict` gives it."""
    architecture_id: str
    architecture_hash: str
    seed: int
    epochs: int
    """Asked for; `history` holds those done."""
    first_epoch: int = 1
    """The first that this training did itself; those before it were done by a shorter one that it goes on from."""
    status: Literal["complete", "failed"]
    reason: str | None = None
    """Why it failed, in one line."""
    traceback: str | None = None
    """Where it failed, if it crashed or hung."""
    failure: Failure | None = None
    """What kind of failure it was; None if it is complete."""
    warnings: tuple[str, ...] = ()
    """What went wrong and was got over: a checkpoint that could not be written, memory that ran out at first."""
    split: Literal["validation"] = "validation"
    """The split of `accuracy`, `loss`, `miou` and `history`."""
    accuracy: float | None = None
    """On the validation images, a fraction (segmentation: of pixels), after the last epoch, or the mean of the last
    ones (`TrainConfig.scored_epochs`); None if failed."""
    loss: float | None = None
    """Log-loss on the validation images of the same epochs, in nats (segmentation: per pixel); None if failed."""
    miou: float | None = None
    """Segmentation: mean intersection over union on the validation images after the last epoch, a fraction."""
    miou_by_size: dict[str, float | None] | None = None
    """The same for small, medium and large objects, without the background; None for a size that does not occur."""
    test_accuracy: float | None = None
    """On the test images, a fraction; None if not asked for or failed."""
    test_loss: float | None = None
    """Log-loss on the test images, in nats."""
    test_miou: float | None = None
    test_miou_by_size: dict[str, float | None] | None = None
    history: tuple[EpochResult, ...] = ()
    params: int
    macs: int
    """At batch 1, see `search_spaces.measure_cost`."""
    wall_s: float
    """The whole trial from `first_epoch` on, with its data, validation and latency."""
    images_per_s: float | None
    """Training images per second of training, validation left out; None if no epoch was finished."""
    memory_bytes: int | None
    """Peak while training and validating; None if it cannot be measured."""
    memory_method: str
    latency: Latency | None = None
    """None if not asked for or failed."""
    device: str
    """In words, with the threads of a CPU."""
    precision: Literal["fp32", "bf16"]
    accumulation: int = 1
    """Parts that each batch was trained in: `train.accumulation`, or more if memory ran out."""
    compiling: str | None = None
    """Whether the network was compiled for its training, and why; None if the trial did not get so far."""
    num_train: int
    num_validation: int
    num_test: int
    data_sha256: str
    versions: dict[str, str]
    started_at: str
    """ISO 8601, UTC."""
    schema: int = SCHEMA

    @property
    def retryable(self) -> bool:
        """Whether it failed of what another try may mend."""
        return self.failure in RETRYABLE

    @property
    def latency_ms(self) -> float | None:
        """The median latency in milliseconds, or None if it was not measured."""
        return None if self.latency is None else self.latency.median_ms

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data that shares nothing with it but numbers and text; `from_dict` reads it back."""
        # Not `asdict`, which copies deeply, number by number, and takes ten times as long (0.7 ms for 24 epochs).
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "architecture": deepcopy(self.architecture),
            "miou_by_size": copy(self.miou_by_size),
            "test_miou_by_size": copy(self.test_miou_by_size),
            "history": [{name: getattr(result, name) for name in _EPOCH} for result in self.history],
            "latency": None if self.latency is None else asdict(self.latency),
            "versions": copy(self.versions),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TrialRecord":
        """Return the record that `to_dict` wrote, now or when the schema was 1, 2 or 3.

        Raises:
            InputError: another version of the schema, or keys that do not belong to it.
        """
        if data.get("schema") not in _READ:
            allowed = ", ".join(map(str, _READ))
            raise InputError(f"a trial record has schema {data.get('schema')!r}; this version reads {allowed}")
        if data["schema"] == 1:
            data = {**data, **dict.fromkeys(_NEW_IN_2), "schema": 2}
        if data["schema"] == 2:
            data = {**data, "first_epoch": 1, "schema": 3}
        if data["schema"] == 3:
            data = {**data, "failure": None, "accumulation": 1, "warnings": (), "schema": SCHEMA}
        names = {field.name for field in fields(TrialRecord)}
        if wrong := sorted(names ^ set(data)):
            raise InputError(f"a trial record (schema {SCHEMA}) lacks or does not know: {', '.join(wrong)}")
        history = tuple(EpochResult(**result) for result in data["history"])
        latency = None if data["latency"] is None else Latency(**data["latency"])
        read = {"history": history, "latency": latency, "warnings": tuple(data["warnings"])}
        return TrialRecord(**{**data, **read})
