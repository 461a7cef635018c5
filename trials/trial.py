"""The steps of a trial: settle what is trained on what, train, measure."""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces import Architecture, InputError, measure_cost
from search_spaces.config import Config
from trials.checkpoint import Checkpoint, Checkpoints
from trials.compiling import Compiling, decide_compiling
from trials.data import Augmentation, DataConfig, augmentation, check_images, load_data, mirrors
from trials.dataset import Dataset
from trials.device_data import DeviceData, on_device
from trials.devices import Precision, pick_device, pick_precision
from trials.evaluate import evaluate_in_memory
from trials.failure import DivergedError, Failure
from trials.graphed_step import capture, check_graphs
from trials.latency import Latency, measure_latency
from trials.parameter_groups import placed_parameters
from trials.record import EpochResult
from trials.score import Score
from trials.splits import Index, split
from trials.train import Trainer, count_steps
from trials.train_config import TrainConfig
from trials.weights import save_weights

KEEP_EVERY_S = 30.0
"""Seconds of training that an interruption may cost, beside the epoch that it falls into."""


class TrialConfig(Config):
    """How a trial is trained and what is measured."""

    data: DataConfig
    """The images."""
    train: TrainConfig
    """How the network is trained."""
    device: str = "auto"
    """`auto` (CUDA if there is any, else the CPU), `cpu`, `cuda` or `cuda:<n>`."""
    latency: bool = False
    """Measure the latency after training."""
    test: bool = False
    """Measure the test images once, after training."""


@dataclass
class Findings:
    """What a trial has found so far."""

    history: list[EpochResult] = field(default_factory=list)
    train_s: float = 0.0
    """Time spent training, validation left out."""
    memory_bytes: int | None = None
    validation: Score | None = None
    """After the last epoch so far."""
    test: Score | None = None
    latency: Latency | None = None
    reason: str | None = None
    """Why it failed."""
    traceback: str | None = None
    failure: Failure | None = None
    first_epoch: int = 1
    """Epochs before it come from a checkpoint."""
    accumulation: int = 1
    """Parts that each batch is trained in."""
    warnings: list[str] = field(default_factory=list)
    """What went wrong and was got over, each once."""

    def warn(self, text: str) -> None:
        """Take note of a warning, unless it is known."""
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(frozen=True)
class Trial:
    """An architecture, a seed and images that fit together."""

    architecture: Architecture
    config: TrialConfig
    seed: int
    device: torch.device
    precision: Precision
    dataset: Dataset
    train_index: Index
    validation_index: Index
    augmentation: Augmentation
    compiling: Compiling
    parts: int
    """That each batch is trained in: `train.accumulation`, or more where memory ran out before."""
    graphed: bool
    """Whether steps are recorded and replayed."""

    @property
    def num_seen(self) -> int:
        """Training images per epoch: all but an incomplete last batch."""
        size = self.config.train.batch_size
        return count_steps(len(self.train_index), size) * size

    @property
    def eval_batch_size(self) -> int:
        """Twice what is trained at a time: without gradients there is room for more than that."""
        return max(1, 2 * self.config.train.batch_size // self.parts)

    @property
    def part_size(self) -> int:
        """Images, at most, that are trained at a time."""
        return -(-self.config.train.batch_size // self.parts)

    @property
    def smaller(self) -> "Trial | None":
        """The same trial with half as many images at a time, and no recording: that takes memory too. None: no less."""
        if self.part_size == 1:
            return None
        return replace(self, parts=min(2 * self.parts, self.config.train.batch_size), graphed=False)

    @property
    def identity(self) -> str:
        """What trainings have in common that go on from each other's stable epochs: all but their length."""
        config = self.config
        parts = {
            "architecture": self.architecture.hash,
            "seed": self.seed,
            "train": config.train.model_dump(exclude={"epochs"}),
            "data": config.data.model_dump(exclude={"dir"}),
            "images": self.dataset.sha256,
            "precision": self.precision,
            "device": self.device.type,
            "compiled": self.compiling.is_on,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def build(self) -> nn.Module:
        """Return the untrained network on the device."""
        model = self.architecture.build(self.seed).to(self.device)
        if self.config.train.channels_last:
            # Images need no conversion: a convolution takes the layout of its weights.
            model = model.to(memory_format=torch.channels_last)
        return model

    def train(self, model: nn.Module, found: Findings, checkpoints: Checkpoints | None = None) -> Iterator[EpochResult]:
        """Train and validate, adding each epoch to the findings.

        A checkpoint that cannot be written is no reason to end a training: the one before it stays, and a warning is
        added to the findings.

        Args:
            model: untrained.
            found: what is added to.
            checkpoints: hold, if anything, an earlier epoch to go on from; take the end of the stable epochs and, not
                more often than every `KEEP_EVERY_S`, the last epoch.

        Raises:
            DivergedError: a loss is not finite.
        """
        data = on_device(self.dataset, self.device, "train")
        num_epochs, stable = self.config.train.epochs, self.config.train.stable_epochs
        kept = None if checkpoints is None else checkpoints.latest(self.identity, num_epochs, stable)
        for damaged in [] if checkpoints is None else checkpoints.damaged:
            found.warn(damaged)
        found.accumulation = max(self.parts, kept.state["accumulation"] if kept else 1)
        trainer = self._trainer(model, data, found.accumulation)
        if kept:
            _go_on(trainer, found, kept)
        validation = torch.from_numpy(self.validation_index).to(self.device)
        kept_at = time.monotonic()
        for epoch in range(found.first_epoch, num_epochs + 1):
            result = self._run_epoch(trainer, data, validation, epoch, found)
            if checkpoints is not None and self._keep(trainer, found, checkpoints, epoch, kept_at):
                kept_at = time.monotonic()
            yield result
        if checkpoints is not None:
            checkpoints.running.delete()
        trainer.finish()

    def _run_epoch(
        self, trainer: Trainer, data: DeviceData, validation: torch.Tensor, epoch: int, found: Findings
    ) -> EpochResult:
        start = time.perf_counter()
        train_loss = trainer.run_epoch(epoch)
        found.train_s += time.perf_counter() - start
        score = evaluate_in_memory(
            trainer.scored, data, index=validation, batch_size=self.eval_batch_size, precision=self.precision
        )
        if not math.isfinite(score.loss):
            raise DivergedError(f"the validation loss was {score.loss} in epoch {epoch} of {self.config.train.epochs}")
        wall_s = time.perf_counter() - start
        result = EpochResult(epoch, train_loss, score.accuracy, score.loss, trainer.lr, wall_s, score.miou)
        found.validation = score
        found.history.append(result)
        return result

    def _keep(self, trainer: Trainer, found: Findings, checkpoints: Checkpoints, epoch: int, kept_at: float) -> bool:
        """Write a checkpoint if it is time for one; return whether it was."""
        num_epochs = self.config.train.epochs
        if epoch == self.config.train.stable_epochs:
            file, identity = checkpoints.stable, self.identity
        elif epoch < num_epochs and time.monotonic() - kept_at >= KEEP_EVERY_S:
            file, identity = checkpoints.running, f"{self.identity} {num_epochs}"
        else:
            return False
        try:
            file.write(identity, epoch, _state(trainer, found))
        except OSError as error:
            found.warn(f"no checkpoint could be written, and the training went on without: {error.strerror or error}")
        return True

    def _trainer(self, model: nn.Module, data: DeviceData, accumulation: int) -> Trainer:
        return Trainer(
            model,
            data,
            self.train_index,
            self.config.train,
            self.augmentation,
            self.seed,
            self.precision,
            placed=placed_parameters(self.architecture, model) if self.config.train.attention_lr != 1 else (),
            compiled=self.compiling.is_on,
            record=capture if self.graphed else None,
            accumulation=accumulation,
        )

    def measure(self, model: nn.Module, found: Findings) -> None:
        """Measure what the configuration asks for of the trained network."""
        if self.config.test:
            data = on_device(self.dataset, self.device, "test")
            found.test = evaluate_in_memory(model, data, batch_size=self.eval_batch_size, precision=self.precision)
            if not math.isfinite(found.test.loss):
                raise DivergedError(f"the test loss was {found.test.loss}")
        if self.config.latency:
            shape = (self.dataset.channels, self.dataset.size, self.dataset.size)
            found.latency = measure_latency(model, shape, self.device)

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the network's weights, with all that it takes to use them."""
        mean, std = self.dataset.mean_std
        metadata = {
            "architecture": json.dumps(self.architecture.to_dict()),
            "architecture_id": self.architecture.id,
            "architecture_hash": self.architecture.hash,
            "seed": str(self.seed),
            "epochs": str(self.config.train.epochs),
            "classes": json.dumps(self.dataset.classes),
            "mean": json.dumps(mean),
            "std": json.dumps(std),
        }
        save_weights(model, path, metadata)


def _state(trainer: Trainer, found: Findings) -> dict[str, Any]:
    """Return all that it takes to go on from here."""
    history = [asdict(result) for result in found.history]
    return {
        "history": history,
        "train_s": found.train_s,
        "accumulation": found.accumulation,
        "trainer": trainer.state(),
    }


def _go_on(trainer: Trainer, found: Findings, kept: Checkpoint) -> None:
    """Take up what `_state` returned."""
    trainer.restore(kept.state["trainer"])
    found.history = [EpochResult(**result) for result in kept.state["history"]]
    found.train_s = kept.state["train_s"]
    found.first_epoch = kept.epoch + 1


def prepare(architecture: Architecture, config: TrialConfig, seed: int) -> Trial:
    """Load the images and settle everything that a user may have got wrong. Raises InputError."""
    if seed < 0:
        raise InputError(f"a seed must not be negative, got {seed}")
    device = pick_device(config.device)
    dataset = load_data(config.data)
    check_images(architecture.host, dataset)
    check_recipe(config.data, config.train)
    check_graphs(config.train, device)
    train_index, validation_index = split(dataset, config.data.validation, config.data.training, seed)
    size, epochs = config.train.batch_size, config.train.epochs
    num_images = count_steps(len(train_index), size) * size * epochs
    return Trial(
        architecture,
        config,
        seed,
        device,
        pick_precision(config.train.precision, device),
        dataset,
        train_index,
        validation_index,
        augmentation(config.data, dataset.size),
        decide_compiling(config.train.compile, device, measure_cost(architecture).macs, num_images),
        config.train.accumulation,
        config.train.cuda_graphs,
    )


def check_recipe(data: DataConfig, train: TrainConfig) -> None:
    """Raise InputError if a setting of the training has no effect on these images."""
    if train.flip == "alternating" and not mirrors(data):
        raise InputError(f"`flip: alternating` needs images that are mirrored; {data.source} has `flip: false` here")
