"""Training: SGD with warm-up and a cosine to zero, on images that live on the device.

SGD with Nesterov momentum: Sutskever et al., ICML 2013. Cosine: Loshchilov and Hutter, arXiv:1608.03983,
without restarts. Warm-up: Goyal et al., arXiv:1706.02677, section 2.2. Label smoothing: Szegedy et al.,
arXiv:1512.00567, section 7.
"""

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from search_spaces import InputError
from search_spaces.config import Config
from trials.augmentation import augment, plan_epoch
from trials.data import Augmentation
from trials.device_data import DeviceData
from trials.devices import Precision
from trials.splits import Index


class TrainConfig(Config):
    """How a network is trained."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(ge=1)
    """Images per step; an incomplete last batch of an epoch is left out."""
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
    warmup: float = Field(0.5, ge=0)
    """Epochs over which the learning rate rises from 0."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bfloat16 where the device computes with it. The parameters are float32 always."""
    channels_last: bool = True
    """Memory layout of the convolutions; changes the time, and the results by rounding only."""

    @model_validator(mode="after")
    def _is_possible(self) -> "TrainConfig":
        if self.warmup >= self.epochs:
            raise InputError(f"`warmup` must be shorter than `epochs` ({self.epochs}), got {self.warmup}")
        if self.nesterov and not self.momentum:
            raise InputError("`nesterov: true` needs a momentum; give `nesterov: false` with `momentum: 0`")
        return self


class DivergedError(ArithmeticError):
    """A loss was not finite."""


def learning_rate(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training.

    With w = warmup * steps_per_epoch and T = epochs * steps_per_epoch: lr * (step + 1) / w while step + 1 <
    w, then lr * (1 + cos(pi * (step - w) / (T - w))) / 2, which would be 0 at step T. Always in (0, lr].
    """
    warmup, total = config.warmup * steps_per_epoch, config.epochs * steps_per_epoch
    if step + 1 < warmup:
        return config.lr * (step + 1) / warmup
    progress = max(0.0, step - warmup) / (total - warmup)
    return config.lr * (1 + math.cos(math.pi * progress)) / 2


class Trainer:
    """Trains one network in place, an epoch at a time.

    Args:
        model: on the device of the images.
        data: the images.
        index: the positions of the training images.
        config: how to train.
        augmentation: what happens to the images.
        seed: of order and augmentation; not negative.
        precision: of forward and backward pass.

    Raises:
        InputError: a batch is larger than the number of training images.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DeviceData,
        index: Index,
        config: TrainConfig,
        augmentation: Augmentation,
        seed: int,
        precision: Precision,
    ) -> None:
        self.num_steps = count_steps(len(index), config.batch_size)
        """Steps per epoch."""
        self.lr = 0.0
        """The learning rate of the last step."""
        self._model, self._data, self._index = model, data, index
        self._config, self._augmentation, self._seed, self._precision = config, augmentation, seed, precision
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,  # 0.15 against 0.92 ms for ResNet-20 on a CPU, where a step on 64 digits takes 15 ms
        )

    def run_epoch(self, epoch: int) -> float:
        """Train for epoch number `epoch`, from 1; return the mean training loss over its steps.

        Raises:
            DivergedError: that loss is not finite.
        """
        device, size = self._data.labels.device, self._config.batch_size
        plan = plan_epoch(self._index, self._augmentation, self._seed, epoch, device)
        self._model.train()
        losses = []
        for number in range(self.num_steps):
            self._set_lr(learning_rate((epoch - 1) * self.num_steps + number, self.num_steps, self._config))
            batch = plan.batch(number * size, size)
            x_BCHW = self._data.normalise(augment(self._data.images, batch, self._augmentation))
            losses.append(self._step(x_BCHW, self._data.labels[batch.order]))
        loss = torch.stack(losses).mean().item()  # the only point where the host waits for the device
        if not math.isfinite(loss):
            raise DivergedError(f"the training loss was {loss} in epoch {epoch} of {self._config.epochs}")
        return loss

    def _set_lr(self, lr: float) -> None:
        self.lr = lr
        for group in self._optimizer.param_groups:
            group["lr"] = lr

    def _step(self, x_BCHW: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x_BCHW.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            logits = self._model(x_BCHW)
        loss = F.cross_entropy(logits.float(), labels_B, label_smoothing=self._config.label_smoothing)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()


def count_steps(num_train: int, batch_size: int) -> int:
    """Return the steps of an epoch. Raises InputError if there are fewer images than a batch."""
    if batch_size > num_train:
        raise InputError(f"batch_size: {batch_size} is more than the {num_train} training images")
    return num_train // batch_size
