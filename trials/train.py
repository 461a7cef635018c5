"""Training on images that live on the device: steps of SGD, an epoch at a time.

The loss is the cross-entropy, of images or of pixels.

SGD with Nesterov momentum: Sutskever et al., ICML 2013. Label smoothing: Szegedy et al., arXiv:1512.00567, section 7.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces import InputError
from trials.augmentation import alter, augment, augment_labels, plan_epoch
from trials.data import Augmentation
from trials.device_data import DeviceData
from trials.devices import Precision
from trials.failure import DivergedError
from trials.graphed_step import GraphedStep, Learn, Record, set_rate
from trials.parameter_groups import FACTOR, parameter_groups
from trials.splits import Index
from trials.train_config import TrainConfig, learning_rate
from trials.weight_average import WeightAverage


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
        placed: names of the parameters that `attention_lr` is for.
        compiled: whether forward and backward pass are compiled; scoring the network is not.
        record: what makes a recording of a step, to be replayed; None: each step is run operation by operation.
        accumulation: parts that each batch is trained in, at most its size.

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
        *,
        placed: Collection[str] = (),
        compiled: bool = False,
        record: Record | None = None,
        accumulation: int = 1,
    ) -> None:
        self.num_steps = count_steps(len(index), config.batch_size)
        """Steps per epoch."""
        self.lr = 0.0
        """The learning rate of the last step."""
        self._forward = torch.compile(model, dynamic=False) if compiled else model
        self._model, self._data, self._index = model, data, index
        self._config, self._augmentation, self._seed, self._precision = config, augmentation, seed, precision
        self._accumulation = accumulation
        self._average = None if config.ema is None else WeightAverage(model, config.ema)
        self._optimizer = torch.optim.SGD(
            parameter_groups(
                model,
                placed,
                weight_decay=config.weight_decay,
                norm_weight_decay=config.norm_weight_decay,
                attention_lr=config.attention_lr,
            ),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            fused=True,  # 0.15 against 0.92 ms for ResNet-20 on a CPU, where a step on 64 digits takes 15 ms
        )
        self._advance: Learn = (
            self._learn if record is None else GraphedStep(self._learn, model, self._optimizer, record)
        )

    @property
    def scored(self) -> nn.Module:
        """The network to score: the one that is trained, or with `ema` the one with the averaged weights."""
        return self._model if self._average is None else self._average.model

    def finish(self) -> None:
        """Give the network the weights that are scored; after the last epoch."""
        if self._average is not None:
            self._average.copy_to(self._model)

    def state(self) -> dict[str, Any]:
        """Return all that the next epochs depend on, the random numbers of dropout and the like included."""
        device = self._data.labels.device
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of a trainer of the same network, recipe and device."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        for group in self._optimizer.param_groups:
            group["lr"] = float(group["lr"])  # a recording had made a tensor of it
        if self._average is not None:
            self._average.restore(state["average"])
        torch.set_rng_state(state["random"])
        if state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"], self._data.labels.device)

    def run_epoch(self, epoch: int) -> float:
        """Train for epoch number `epoch`, from 1; return the mean training loss over its steps.

        Raises:
            DivergedError: that loss is not finite.
        """
        device, size = self._data.labels.device, self._config.batch_size
        how, config = self._augmentation, self._config
        plan = plan_epoch(self._index, how, self._seed, epoch, device, flip=config.flip, mixup=config.mixup)
        self._model.train()
        losses = []
        for number in range(self.num_steps):
            self._set_lr(learning_rate((epoch - 1) * self.num_steps + number, self.num_steps, config))
            batch = plan.batch(number * size, size)
            x_BCHW = alter(self._data.normalise(augment(self._data.images, batch, how)), batch, how)
            losses.append(self._step(x_BCHW, augment_labels(self._data.labels, batch, how), batch.share))
        loss = torch.stack(losses).mean().item()  # the only point where the host waits for the device
        if not math.isfinite(loss):
            raise DivergedError(f"the training loss was {loss} in epoch {epoch} of {self._config.epochs}")
        return loss

    def _set_lr(self, lr: float) -> None:
        self.lr = lr
        for group in self._optimizer.param_groups:
            set_rate(group, lr * group[FACTOR])

    def _step(self, x_BCHW: torch.Tensor, labels: torch.Tensor, share: torch.Tensor | None) -> torch.Tensor:
        loss = self._advance(x_BCHW, labels, share)
        if self._average is not None:
            self._average.update()  # never recorded: its decay differs from step to step
        return loss

    def _learn(self, x_BCHW: torch.Tensor, labels: torch.Tensor, share: torch.Tensor | None) -> torch.Tensor:
        self._optimizer.zero_grad()
        losses = []
        for part_BCHW, own, others, shares in _parts(self._accumulation, x_BCHW, labels, share):
            with torch.autocast(x_BCHW.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                logits = self._forward(part_BCHW)
            loss = mixed_cross_entropy(logits.float(), own, others, shares, self._config.label_smoothing)
            if len(part_BCHW) < len(x_BCHW):
                loss = loss * (len(part_BCHW) / len(x_BCHW))  # the parts' gradients add up to that of the mean
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        self._optimizer.step()
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _parts(
    num_parts: int, x_BCHW: torch.Tensor, labels: torch.Tensor, share: torch.Tensor | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]]:
    """Yield a batch in parts that differ by one image at most: images, labels, those mixed in, shares.

    What is mixed in is that of the whole batch, so that the parts change nothing about it.
    """
    others = None if share is None else labels.roll(1, 0)
    columns = [
        [None] * num_parts if tensor is None else tensor.tensor_split(num_parts)
        for tensor in (x_BCHW, labels, others, share)
    ]
    yield from zip(*columns, strict=True)


def mixed_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    others: torch.Tensor | None,
    share: torch.Tensor | None,
    label_smoothing: float,
) -> torch.Tensor:
    """Return the mean loss of images that are mixed with the one before them; see `augmentation.alter`.

    Args:
        logits: (B, K) or (B, K, H, W), float32.
        labels: (B,) or (B, H, W), int64.
        others: the labels of the images that are mixed in; None if nothing was mixed.
        share: (B,), of the image itself; None if nothing was mixed.
        label_smoothing: share of the target that is spread over all classes.
    """
    if share is None or others is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    own, other = (
        F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)
        for target in (labels, others)
    )
    return torch.lerp(other, own, share.reshape(-1, *[1] * (own.ndim - 1))).mean()


def count_steps(num_train: int, batch_size: int) -> int:
    """Return the steps of an epoch. Raises InputError if there are fewer images than a batch."""
    if batch_size > num_train:
        raise InputError(f"batch_size: {batch_size} is more than the {num_train} training images")
    return num_train // batch_size
