"""Runs searches whose trainings are looked up or computed: the real ledger, proposer, samplers and early stopping.

What a search does is what `nas search` does; only the trainings are a function. So the curves are those of what users
run, and cost milliseconds per trial. The study is kept in memory. Workers are simulated: of what runs, what is through
first reports first.
"""

import heapq
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from nas.proposals.baselines import make_baselines
from nas.proposals.early_stopping import EarlyStopping, Rule
from nas.proposals.expectation import Expectation
from nas.proposals.proposer import Proposer, SearchPlan
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal, state_of
from reports.objectives import to_minimise
from reports.statistics.pareto import hypervolume, nondominated
from search_spaces import SearchSpace
from trials.record import TrialRecord

Floats = npt.NDArray[np.float64]
NUM_RANDOM_BASELINES = 3
REDUCTION_FACTOR, LET_LIVE = 3.0, 0.05
"""The defaults of `early_stopping` in an experiment."""


@dataclass(frozen=True)
class Problem:
    """A space whose architectures can be asked for what a training of them gives, and for the truth."""

    space: SearchSpace
    objectives: tuple[str, ...]
    train: Callable[[Proposal], TrialRecord]
    """What the search is told: the record of a proposal's present leg."""
    truth: Callable[[str], Sequence[float]]
    """The objectives as they are without noise, in natural units, of a trained architecture given by its hash."""
    ideal: Floats
    corner: Floats
    """The box of the hypervolume: the best and the worst of each objective that count, minimised."""

    def scaled(self, values: Sequence[Sequence[float]]) -> Floats:
        """Return values in natural units, (points, objectives), with the box as the unit cube."""
        return (to_minimise(values, self.objectives) - self.ideal) / (self.corner - self.ideal)


@dataclass(frozen=True)
class Search:
    """What a search is run with."""

    sampler: str
    trials: int
    """Proposals, trained to the end or stopped early; baselines come on top."""
    seed: int
    """Of the sampler."""
    trial_seed: int
    """Of its trainings."""
    epochs: int = 1
    """Of a whole training."""
    rungs: tuple[int, ...] = ()
    """Where it stops early; none: never."""
    workers: int = 1
    """Trials at a time; with more than one, nothing waits for a generation."""


@dataclass(frozen=True)
class Costs:
    """What had been spent when something came to its end."""

    epochs: int
    """Each leg's own cool-down is counted."""
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


def replay(problem: Problem, search: Search) -> Replayed:
    """Run a search to its end, with the baselines that lie in the space."""
    in_order = search.workers == 1
    ledger = Ledger.open(InMemoryStorage(), "search", problem.objectives)
    for label, architecture in make_baselines(problem.space, NUM_RANDOM_BASELINES, search.seed):
        if problem.space.encode(architecture) is not None:
            ledger.add(architecture, label=label, seed=search.trial_seed, epochs=search.epochs)
    plan = SearchPlan(
        search.sampler, search.trials, search.seed, search.trial_seed, search.epochs, in_order, search.rungs
    )
    proposer = Proposer(ledger, problem.space, plan)
    rule = Rule(search.rungs, REDUCTION_FACTOR, LET_LIVE, search.seed, in_order)
    stopping = EarlyStopping(ledger, rule, Expectation(ledger, problem.space, proposer.results_before))
    order, costs = [], []
    running: list[tuple[float, int, Proposal, TrialRecord]] = []
    epochs, cpu_s, wall_s = 0, 0.0, 0.0
    while True:
        stopping.decide()
        ledger.tell(in_order=in_order)
        while len(running) < search.workers and (proposal := proposer.next()):
            record = problem.train(proposal)
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


@dataclass(frozen=True)
class Curves:
    """Hypervolumes of true values, after 1, 2, ... trainings; the box is 1."""

    held: Floats
    """Of what the search holds for its front, by the values that it was told. Luck can make it fall."""
    archive: Floats
    """Of everything that was trained: what a search could report if confirming were free of error."""


def curves(problem: Problem, trained: Sequence[FrozenTrial]) -> Curves:
    """Return how a search's hypervolume grew."""
    told = problem.scaled([trial.values for trial in trained])
    true = problem.scaled([problem.truth(trial.user_attrs["hash"]) for trial in trained])
    unit = np.ones(told.shape[1])
    held, archive = np.zeros(len(told)), np.zeros(len(told))
    on_front = np.zeros(len(told), dtype=bool)
    best = np.zeros(len(told), dtype=bool)
    for n in range(len(told)):
        on_front[n] = best[n] = True
        on_front[: n + 1][on_front[: n + 1]] = nondominated(told[: n + 1][on_front[: n + 1]])
        best[: n + 1][best[: n + 1]] = nondominated(true[: n + 1][best[: n + 1]])
        held[n] = hypervolume(true[on_front], unit)
        archive[n] = hypervolume(true[best], unit)
    return Curves(held, archive)


def made_up_record(proposal: Proposal, *, first_epoch: int = 1, wall_s: float = 0.0, **measured: Any) -> TrialRecord:
    """Return a record of a proposal's present leg, come to its end, that holds what is given."""
    architecture = proposal.architecture
    return TrialRecord(
        architecture=architecture.to_dict(),
        architecture_id=architecture.id,
        architecture_hash=architecture.hash,
        seed=proposal.seed,
        epochs=proposal.target,
        first_epoch=first_epoch,
        status="complete",
        wall_s=wall_s,
        images_per_s=None,
        memory_bytes=None,
        memory_method="made up",
        device="made up",
        precision="fp32",
        num_train=0,
        num_validation=0,
        num_test=0,
        data_sha256="",
        versions={},
        started_at="2026-01-01T00:00:00+00:00",
        **measured,
    )


def about() -> dict[str, Any]:
    """Return the command of this process and the versions of what its searches come from."""
    packages = {package: version(package) for package in ("optuna", "numpy", "moocore")}
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), **packages},
    }
