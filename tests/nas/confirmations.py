"""A small search with a front, and its confirmation trained by arithmetic."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toy_search import Toy

from nas.experiment import ExperimentConfig
from nas.proposals.parameters import Draw
from nas.study.journal import open_storage
from nas.study.ledger import Ledger

OBJECTIVES = ("accuracy", "macs")
CONFIG = {
    "space": "digits-gates",
    "data": {"source": "digits", "validation": 360},
    "train": {"epochs": 1, "batch_size": 64, "lr": 0.1},
}


def config(**confirm: object) -> ExperimentConfig:
    return ExperimentConfig.model_validate({**CONFIG, "confirm": {"epochs": 4, **confirm}})


def open_both(folder: Path, objectives: Sequence[str] = OBJECTIVES) -> tuple[Ledger, Ledger]:
    storage = open_storage(folder)
    return Ledger.open(storage, "search", objectives), Ledger.open(storage, "confirm", objectives)


def searched(toy: Toy, folder: Path, objectives: Sequence[str] = OBJECTIVES) -> tuple[Ledger, Ledger]:
    """Return a search of the bare host (trial 0) and proposals 1 to 12, and an empty confirmation.

    Trial n costs 10 + n MACs and bytes. Those with odd numbers are on the front, with accuracy 0.5 + 0.02 n; the others
    lie 0.002 n behind the one before.
    """
    search, confirm = open_both(folder, objectives)
    search.add(toy.bare_host(), label="host", seed=0, epochs=1)
    for n in range(12):
        indices = (1 + n % 4, n // 4, *[0] * (len(toy.space.decisions) - 2))
        search.propose(toy.space.decode(indices), Draw(indices, {}, {}), seed=0, epochs=1, batch=(n, 1))
    for proposal in search.unfinished():
        n = proposal.number
        accuracy = 0.5 if n == 0 else 0.5 + 0.02 * n if n % 2 else 0.5 + 0.02 * (n - 1) - 0.002 * n
        record = replace(toy.record(proposal, accuracy=accuracy), macs=10 + n, memory_bytes=10 + n)
        search.record(n, replace(record, num_validation=10_000))
    search.tell(in_order=False)
    return search, confirm


def run_some(toy: Toy, confirm: Ledger, order: random.Random, most: int = 10_000) -> int:
    """Train what is queued in any order, at most so many, with noise that seed and architecture settle."""
    done = 0
    while done < most and (waiting := confirm.unfinished()):
        proposal = order.choice(waiting)
        noise = random.Random(f"{proposal.architecture.hash} {proposal.seed}").gauss(0, 0.02)
        accuracy = 0.6 + int(proposal.architecture.hash[:4], 16) / 2**16 / 10 + noise
        memory_bytes = 10 + int(proposal.architecture.hash[:4], 16) % 13 + proposal.seed
        confirm.record(proposal.number, replace(toy.record(proposal, accuracy=accuracy), memory_bytes=memory_bytes))
        confirm.tell(in_order=False)
        done += 1
    return done


def story(confirm: Ledger) -> list[tuple[object, ...]]:
    return sorted((t.user_attrs["hash"], t.user_attrs["seed"], t.values) for t in confirm.trials())
