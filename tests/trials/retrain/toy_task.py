"""A task of milliseconds: a small network with batch norm and dropout tells which colour there is most of in noise."""

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import Architecture
from trials.retrain import Job, Place, run_process
from trials.retrain.batching import Order, Part, shuffled, slot_rng
from trials.retrain.recipe import Recipe
from trials.retrain.task import Metric, Setting

NUM_ITEMS, NUM_CLASSES = 50, 3
ARCHITECTURE = Architecture.from_dict({"host": {"name": "resnet20"}, "placement": {}})


class ToyRecipe(Recipe):
    """Trains the small network."""

    task: Literal["toy"] = "toy"
    source: str = "made for tests"
    dropout: float = 0.2

    def prepare(self, setting: Setting) -> "ToyTask":
        return ToyTask(self, setting)


class ToyTask:
    """Says which colour an image of noise has most of."""

    metric, split, num_items, metadata = Metric("accuracy"), "val", NUM_ITEMS, {"classes": '["r", "g", "b"]'}

    def __init__(self, recipe: ToyRecipe, setting: Setting) -> None:
        self._recipe, self._setting = recipe, setting
        generator = torch.Generator().manual_seed(0)
        self._labels = torch.arange(NUM_ITEMS) % NUM_CLASSES
        self._x_BCHW = torch.randn(NUM_ITEMS, 3, 8, 8, generator=generator)
        self._x_BCHW[torch.arange(NUM_ITEMS), self._labels] += 0.5

    @property
    def data_sha256(self) -> str:
        return hashlib.sha256(b"toy").hexdigest()

    def build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._setting.seed)
            return nn.Sequential(
                nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(self._recipe.dropout),
                nn.Flatten(), nn.Linear(288, NUM_CLASSES),
            )  # fmt: skip

    def order(self, epoch: int) -> Order:
        return shuffled(NUM_ITEMS, self._setting.seed, epoch)

    def batches(self, parts: Sequence[Part]) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts:
            rngs = [slot_rng(self._setting.seed, 90, part.epoch, slot) for slot in part.slots]
            noise = [rng.normal(0, 0.1, (3, 8, 8)) for rng in rngs]
            items = torch.from_numpy(part.items)
            yield self._x_BCHW[items] + torch.from_numpy(np.stack(noise)).float(), self._labels[items]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        mine = torch.tensor(self._setting.place.share(NUM_ITEMS))
        hits = (model(self._x_BCHW[mine]).argmax(1) == self._labels[mine]).sum()
        return {"accuracy": float(self._setting.place.add_up(hits)) / NUM_ITEMS}


def toy_job(out: Path, **changed: Any) -> Job:
    """Return a training of 6 epochs of 6 steps each, and a rest of 2 items; checkpoints as often as can be."""
    settings: dict[str, Any] = {
        "epochs": 6, "batch_size": 8, "optimizer": {"lr": 0.05}, "ema": {"decay": 0.9, "every": 2},
        "schedule": {"warmup": 1.0}, "checkpoint_s": 1e-9, "precision": "fp32",
    } | changed  # fmt: skip
    return Job(ARCHITECTURE, ToyRecipe.model_validate(settings), "toy", 0, out, device="cpu")


def run_here(job: Job, **settings: Any) -> Any:
    """Train in this process."""
    return run_process(job, Place(torch.device("cpu")), shown=False, **settings)


def forked(target: Any, *arguments: Any) -> Any:
    """Start a process that has all that this one has imported."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def run_joined_toy(job: Job, rank: int, world_size: int, store: Path, killed_at: int) -> None:
    """Train in one of several processes, joined by a file; at a step, all kill themselves."""
    from torch import distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    place = Place.current(torch.device("cpu"))
    if killed_at:
        kill_at_step(killed_at)
    run_process(job, place, shown=False)
    dist.destroy_process_group()


def kill_at_step(step: int) -> None:
    """Have this process kill itself in the midst of a step, counted from 1."""
    import os

    from trials.retrain.learner import Learner

    learn, count = Learner.step, 0

    def counted(self: Learner, *arguments: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return learn(self, *arguments)

    Learner.step = counted  # type: ignore[method-assign]


def history_of(out: Path) -> list[dict[str, Any]]:
    """Return the epochs that a training has written."""
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
