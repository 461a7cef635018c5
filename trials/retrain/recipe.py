"""A recipe: how a network is trained in full. What all tasks share is here; each task has a class that adds to it."""

import hashlib
import json
from abc import ABC, abstractmethod
from typing import Any, Literal

from pydantic import Field, model_validator

from search_spaces import InputError
from search_spaces.config import Config
from trials.retrain.schedule import ScheduleConfig
from trials.retrain.task import Setting, Task


class OptimizerConfig(Config):
    """What a step does with the gradients."""

    kind: Literal["sgd", "adagrad"] = "sgd"
    """Stochastic gradient descent with momentum, or AdaGrad."""
    lr: float = Field(gt=0)
    """The learning rate at its highest, for the whole `batch_size`: it is not multiplied by the number of processes."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """`sgd`: share of the last step that is kept."""
    nesterov: bool = False
    """`sgd`: look ahead by the momentum."""
    weight_decay: float = Field(1e-4, ge=0)
    """L2 penalty."""
    norm_weight_decay: bool = True
    """`false`: none on norms, biases and other parameters with one dimension or none."""
    attention_lr: float = Field(1.0, gt=0)
    """What the learning rate of the placed modules' parameters is multiplied by."""
    clip_norm: float | None = Field(None, gt=0)
    """The most that the norm of all gradients together may be; longer ones are shortened."""

    @model_validator(mode="after")
    def _fits(self) -> "OptimizerConfig":
        if self.nesterov and (self.kind != "sgd" or not self.momentum):
            raise InputError("`nesterov: true` needs `kind: sgd` and a momentum")
        return self


class AverageConfig(Config):
    """The moving average of the weights that is scored and kept; see `trials.weight_average`."""

    decay: float = Field(gt=0, lt=1)
    """Share of the average that stays each time."""
    every: int = Field(1, ge=1)
    """Steps after each of which the weights are taken in."""


class Recipe(Config, ABC):
    """How a network is trained, whatever the task; the keys `task` and the like are added by each task's own class."""

    task: str
    """What is trained."""
    description: str = ""
    """For readers."""
    source: str
    """Where the numbers come from."""
    epochs: int | None = Field(None, ge=1)
    """Passes over the training items; or `iterations`."""
    iterations: int | None = Field(None, ge=1)
    """Steps in all, in place of `epochs`; the last epoch may then be cut short."""
    batch_size: int = Field(ge=1)
    """Items per step over all processes: it does not change with their number. What is left at an epoch's end is left
    out."""
    accumulation: int = Field(1, ge=1)
    """Parts that each process computes its share of a batch in, one after the other, for want of memory."""
    optimizer: OptimizerConfig
    """What a step does."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate changes."""
    ema: AverageConfig | None = None
    """Score and keep a moving average of the weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bfloat16 where the device computes with it. The parameters are float32 always."""
    channels_last: bool = True
    """Memory layout of the convolutions."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the network. `auto`: on CUDA if the training is long enough to pay for it."""
    sync_batch_norm: bool = False
    """Batch norms see the parts of all processes together (slower); not with accumulation."""
    evaluate_every: int = Field(1, ge=1)
    """Epochs after each of which the network is scored; after the last always."""
    checkpoint_s: float = Field(600.0, gt=0)
    """Seconds after each of which a checkpoint is written, beside those at the end of each epoch."""
    keep: int = Field(2, ge=1)
    """Checkpoints that are kept while it runs: the newest."""

    @model_validator(mode="after")
    def _has_a_length(self) -> "Recipe":
        if (self.epochs is None) == (self.iterations is None):
            raise InputError("give one of `epochs` and `iterations`")
        unit, length = ("epochs", self.epochs) if self.epochs else ("iterations", self.iterations)
        if length and self.schedule.warmup >= length:
            raise InputError(f"`warmup` must be shorter than the {length} {unit}, got {self.schedule.warmup:g}")
        if length and self.schedule.milestones and self.schedule.milestones[-1] >= length:
            raise InputError(f"`milestones` must lie within the {length} {unit}, got {self.schedule.milestones}")
        return self

    @property
    def hash(self) -> str:
        """The SHA-256 of all that bears on the result: not of texts, of what is kept when, and of `accumulation`.

        An accumulation is for the machine at hand: 8 processes compute what 4 compute with twice as much of it.
        """
        left_out = {"description", "source", "accumulation", "checkpoint_s", "keep"}
        return hashlib.sha256(json.dumps(self.model_dump(exclude=left_out), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data with every default filled in."""
        return self.model_dump()

    @abstractmethod
    def prepare(self, setting: Setting) -> Task[Any]:
        """Return the task in one process of the training.

        Raises:
            InputError: the architecture, the data or the setting do not fit this recipe.
        """
