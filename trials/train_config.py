"""How a network is trained: the settings, and the learning rate that they give each step.

Cosine: Loshchilov and Hutter, arXiv:1608.03983, without restarts. Line to zero: Jordan, arXiv:2404.00498. Warm-up,
stable, decay: Zhai et al., arXiv:2106.04560, section 3.5; Hu et al., arXiv:2404.06395, section 4; Hägele et al.,
arXiv:2405.18392. Warm-up: Goyal et al., arXiv:1706.02677, section 2.2. The papers of the other settings stand where
these are: `train.py`, `augmentation.py`, `weight_average.py`, `parameter_groups.py`.
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from search_spaces import InputError
from search_spaces.config import Config

DEFAULT_COOLDOWN = 0.3
"""A little more than the 0.2 that Hägele et al. find enough for long trainings: these here have few epochs."""


class TrainConfig(Config):
    """How a network is trained."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(ge=1)
    """Images per step; an incomplete last batch of an epoch is left out."""
    accumulation: int = Field(1, ge=1)
    """Parts that each batch is trained in, one after the other, for want of memory; one step for all of them. Batch
    norms then see a part at a time."""
    optimizer: Literal["sgd"] = "sgd"
    """Stochastic gradient descent with momentum."""
    lr: float = Field(gt=0)
    """The learning rate at its highest, after the warm-up."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Share of the last step that is kept."""
    nesterov: bool = True
    """Look ahead by the momentum."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty, on all parameters."""
    norm_weight_decay: bool = True
    """`false`: none on norms, biases and other parameters with one dimension or none."""
    attention_lr: float = Field(1.0, gt=0)
    """What the learning rate of the placed modules' parameters is multiplied by."""
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    """How the learning rate falls to 0 after the warm-up. `wsd` (warm-up, stable, decay): not before the cool-down, so
    that a training can go on from there as a longer one."""
    cooldown: float | None = Field(None, gt=0, lt=1)
    """With `wsd`: share of the epochs over which the learning rate falls to 0 in a line, in whole epochs and at least
    one; default 0.3."""
    warmup: float = Field(0.5, ge=0)
    """Epochs over which the learning rate rises from 0."""
    flip: Literal["random", "alternating"] = "random"
    """`alternating`: an image is mirrored in every other epoch, which of them is drawn once. With `data: {flip: true}`
    only."""
    mixup: float = Field(0.0, ge=0)
    """Mix each image, and its loss, with another one; the share is drawn from Beta(mixup, mixup). 0: none. Of scenes,
    pixels are mixed with pixels."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Score and keep a moving average of the weights; this share of it stays at each step (0.999, say)."""
    scored_epochs: int = Field(1, ge=1)
    """A trial's accuracy and log-loss are the means over its last so many epochs, of `wsd` at most its cool-down's."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bfloat16 where the device computes with it. The parameters are float32 always."""
    channels_last: bool = True
    """Memory layout of the convolutions; changes the time, and the results by rounding only."""
    compile: bool | Literal["auto"] = False
    """Compile each network before it is trained. `auto`: on CUDA if the training is long enough to pay for it."""
    cuda_graphs: bool = False
    """Record a training step once and replay it, with one launch per step; CUDA only, with `compile: false`."""

    @model_validator(mode="after")
    def _is_possible(self) -> "TrainConfig":
        if self.warmup >= self.epochs:
            raise InputError(f"`warmup` must be shorter than `epochs` ({self.epochs}), got {self.warmup}")
        if self.mixup and self.batch_size == 1:
            raise InputError("`mixup` mixes images of one batch; it needs a `batch_size` of 2 or more")
        if self.accumulation > self.batch_size:
            raise InputError(
                f"`accumulation` must be at most `batch_size` ({self.batch_size}), got {self.accumulation}"
            )
        if self.cooldown is not None and self.schedule != "wsd":
            raise InputError(f"`cooldown` is for `schedule: wsd`; with `{self.schedule}` the rate falls all the time")
        if self.cuda_graphs and self.compile is not False:
            asked = str(self.compile).lower()
            raise InputError(f"`cuda_graphs: true` needs `compile: false`, got {asked}; give one of the two")
        if self.nesterov and not self.momentum:
            raise InputError("`nesterov: true` needs a momentum; give `nesterov: false` with `momentum: 0`")
        return self

    @property
    def num_scored(self) -> int:
        """The epochs that count: `scored_epochs`, but none before the cool-down."""
        return min(self.scored_epochs, self.epochs - self.stable_epochs)

    @property
    def stable_epochs(self) -> int:
        """The epochs before the cool-down, which trainings of all lengths have in common; 0 without `wsd`."""
        if self.schedule != "wsd":
            return 0
        share = DEFAULT_COOLDOWN if self.cooldown is None else self.cooldown
        return self.epochs - max(1, math.floor(share * self.epochs + 0.5))


def learning_rate(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training.

    With w = warmup * steps_per_epoch, T = epochs * steps_per_epoch, s = w (`wsd`: the end of the stable epochs, if that
    is later) and p = max(0, step - s) / (T - s): lr * (step + 1) / w while step + 1 < w, then lr * (1 - p), which would
    be 0 at step T, or lr * (1 + cos(pi * p)) / 2 (`cosine`). Always in (0, lr].
    """
    warmup, total = config.warmup * steps_per_epoch, config.epochs * steps_per_epoch
    if step + 1 < warmup:
        return config.lr * (step + 1) / warmup
    start = max(warmup, config.stable_epochs * steps_per_epoch)
    progress = max(0.0, step - start) / (total - start)
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * progress)) / 2
    return config.lr * (1 - progress)
