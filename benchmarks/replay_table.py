"""Runs searches whose trainings are looked up in the table of placements, in legs, with early stopping and workers.

The ledger, proposer, samplers and early stopping are those of `nas search`, without a process or a file. A training
takes the CPU seconds that it took; workers are simulated: of what runs, what is through first reports first.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from placement_table import Floats, Table
from replay import NUM_RANDOM_BASELINES, Curves, Problem, curves, made_up_record

from nas.baselines import make_baselines
from nas.early_stopping import EarlyStopping, Rule
from nas.ledger_trial import Proposal, state_of
from nas.proposer import Proposer, SearchPlan
from nas.study import Ledger
from reports.objectives import to_minimise
from trials.record import TrialRecord

REDUCTION_FACTOR, LET_LIVE = 3.0, 0.05
"""The defaults of `early_stopping` in an experiment."""


@dataclass(frozen=True)
class Search:
    """What a search is run with."""

    sampler: str
    stops: bool
    """Whether it stops early, at the table's rungs."""
    trials: int
    seed: int
    """Of the sampler; each takes one of the table's seeds for its trainings, in turn."""
    workers: int = 1

    def trial_seed(self, table: Table) -> int:
        """Return the seed of its trainings."""
        return table.seeds[self.seed % len(table.seeds)]


@dataclass(frozen=True)
class Costs:
    """What had been spent when something came to its end."""

    epochs: int
    cpu_s: float
    wall_s: float
    """By the workers' clock."""


@dataclass(frozen=True)
class Replayed:
    """A search that ran to its end."""

    finished: Sequence[FrozenTrial]
    """Trained to their end, in the order in which they came to it; baselines are among them."""
    costs: Sequence[Costs]
    """When each of them had."""
    total: Costs
    """Of all, what was stopped included."""
    stopped: Sequence[FrozenTrial]


class Lookup:
    """A table as what trains, with one of its seeds, and what the others say is true.

    Args:
        table: the trainings.
        objectives: of the search; a quality, then costs.
        seed: of the trainings.
    """

    def __init__(self, table: Table, objectives: tuple[str, ...], seed: int) -> None:
        self.objectives = objectives
        self._table, self._column = table, table.seeds.index(seed)
        self._others = [column for column in range(len(table.seeds)) if column != self._column]

    def problem(self) -> Problem:
        """Return it as the problem that a search is run on.

        The box reaches from the bare host's quality to the best, and from the least of each cost to the most, by the
        means over all seeds.
        """
        table = self._table
        rows, seeds = range(table.space.size), range(len(table.seeds))
        points = to_minimise([self._values(row, seeds) for row in rows], self.objectives)
        ideal, corner = points.min(axis=0), points.max(axis=0)
        corner[0] = points[0, 0]  # the bare host: option 0 of each decision is `none`
        return Problem(table.space, self.objectives, self.train, self.truth, ideal, corner)

    def truth(self, architecture_hash: str) -> list[float]:
        """Return what is true of an architecture, by whole trainings with the seeds that the search does not use."""
        return self._values(self._table.row[architecture_hash], self._others)

    def at_its_end(self, architecture_hash: str) -> list[float]:
        """Return what the search would be told of an architecture that it trains to its end."""
        return self._values(self._table.row[architecture_hash], [self._column])

    def train(self, proposal: Proposal) -> TrialRecord:
        """Return the record of a proposal's present leg."""
        table, row, epochs = self._table, self._table.row[proposal.architecture.hash], proposal.target
        record = made_up_record(
            proposal,
            accuracy=float(table.accuracy.at[epochs][row, self._column]),
            loss=float(table.loss.at[epochs][row, self._column]),
            params=int(table.params[row]),
            macs=int(table.macs[row]),
        )
        first = table.first_epoch[epochs] if proposal.rungs else 1
        return replace(record, epochs=epochs, first_epoch=first, wall_s=self._cpu_s(row, proposal))

    def _cpu_s(self, row: int, proposal: Proposal) -> float:
        """Return what the leg took; a whole training without rungs takes the stable part of each leg and the last."""
        table = self._table
        if proposal.rungs:
            return float(table.cpu_s[proposal.target][row, self._column])
        ends = pairwise([*(table.first_epoch[n] for n in table.lengths), table.full + 1])
        return float(
            sum(
                table.cpu_s[n][row, self._column] * (after - first) / (n - first + 1)
                for n, (first, after) in zip(table.lengths, ends, strict=True)
            )
        )

    def _values(self, row: int, columns: Sequence[int]) -> list[float]:
        table = self._table
        seeds = list(columns)
        values = {
            "accuracy": table.accuracy.at[table.full][row, seeds].mean(),
            "loss": table.loss.at[table.full][row, seeds].mean(),
            "params": table.params[row],
            "macs": table.macs[row],
        }
        return [float(values[name]) for name in self.objectives]


def replay(table: Table, lookup: Lookup, problem: Problem, search: Search) -> Replayed:
    """Run a search to its end."""
    trial_seed, in_order = search.trial_seed(table), search.workers == 1
    ledger = Ledger.open(InMemoryStorage(), "search", problem.objectives)
    for label, architecture in make_baselines(table.space, NUM_RANDOM_BASELINES, search.seed):
        if architecture.hash in table.row:
            ledger.add(architecture, label=label, seed=trial_seed, epochs=table.full)
    rungs = table.lengths[:-1] if search.stops else ()
    plan = SearchPlan(search.sampler, search.trials, search.seed, trial_seed, table.full, in_order, rungs)
    proposer = Proposer(ledger, table.space, plan)
    stopping = EarlyStopping(ledger, Rule(rungs, REDUCTION_FACTOR, LET_LIVE, search.seed, in_order))
    order, costs = [], []
    running: list[tuple[float, int, Proposal, TrialRecord]] = []
    epochs, cpu_s, wall_s = 0, 0.0, 0.0
    while True:
        if search.stops:
            stopping.decide()
        ledger.tell(in_order=in_order)
        while len(running) < search.workers and (proposal := proposer.next()):
            record = lookup.train(proposal)
            heapq.heappush(running, (wall_s + record.wall_s, proposal.number, proposal, record))
        if not running:
            break
        wall_s, number, proposal, record = heapq.heappop(running)
        ledger.record(number, record)
        epochs, cpu_s = epochs + record.epochs - record.first_epoch + 1, cpu_s + record.wall_s
        if proposal.target == proposal.epochs:
            order.append(number)
            costs.append(Costs(epochs, cpu_s, wall_s))
    trials = ledger.trials()
    stopped = [trial for trial in trials if state_of(trial) == "stopped"]
    return Replayed([trials[number] for number in order], costs, Costs(epochs, cpu_s, wall_s), stopped)


def over_costs(problem: Problem, found: Replayed, spent: Sequence[float], grid: Floats) -> Curves:
    """Return a search's hypervolumes at the costs of a grid; 0 before anything was finished.

    Args:
        spent: what had been spent when each of `found.finished` was, in the grid's unit.
    """
    grown = curves(problem, found.finished)
    last = np.searchsorted(np.asarray(spent), grid, side="right") - 1
    held, archive = (np.where(last < 0, 0.0, each[np.maximum(last, 0)]) for each in (grown.held, grown.archive))
    return Curves(held, archive)
