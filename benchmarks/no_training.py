"""A trial function that does not train: records of the size of real ones, made up from the architecture's hash."""

import random
import time
from dataclasses import replace
from functools import cache
from typing import Any

from replay import made_up_record

from nas.running.work import Task
from nas.study.ledger_trial import Proposal
from search_spaces import Architecture
from trials.record import EpochResult

EPOCHS, HISTORY = 8, 24
START_S = 4.0
"""That the first made-up training in a process takes: until then all other workers have started too, whose imports
would otherwise take the time of what is measured."""


def no_training(task: Task, _report: Any) -> dict[str, Any]:
    """Return the record of a training that did not take place."""
    _wait_once()
    return made_up(Architecture.from_dict(task.architecture), task.seed)


@cache
def _wait_once() -> None:
    time.sleep(START_S)


def no_training_on_node(config: dict[str, Any], node: Any) -> None:
    """Do what a node of a Ray cluster does, but for the training; the trainable of Tune's function API."""
    from nas.ray_cluster import on_node

    on_node.run_task = no_training
    on_node.train(config, node)


def made_up(architecture: Architecture, seed: int) -> dict[str, Any]:
    dice = random.Random(architecture.hash)
    proposal = Proposal(0, architecture, seed, EPOCHS, "proposal", None, EPOCHS)
    history = tuple(
        EpochResult(**{**_EPOCH, "epoch": n + 1, "accuracy": dice.random(), "loss": dice.random()})
        for n in range(HISTORY)
    )
    measured = {"accuracy": dice.random(), "loss": dice.random(), "params": 1, "macs": dice.randrange(10**6, 10**7)}
    record = made_up_record(proposal, **measured, history=history)
    return replace(record, num_train=45_000, num_validation=5_000, memory_bytes=10**9, wall_s=300.0).to_dict()


_EPOCH: dict[str, Any] = {"train_loss": 1.2345678901, "lr": 0.1234567890, "wall_s": 12.345678901}
