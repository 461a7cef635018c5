"""Runs searches whose trainings are looked up or computed: the real ledger, proposer and samplers, no worker.

What a search does is what `nas search` does; only the trainings are a function. So the curves are those of what users
run, and cost milliseconds per trial. The study is kept in memory.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import t as student

from nas.baselines import make_baselines
from nas.ledger_trial import Proposal
from nas.proposer import Proposer, SearchPlan
from nas.study import Ledger
from reports.objectives import to_minimise
from reports.pareto import hypervolume, nondominated
from search_spaces import SearchSpace
from trials.record import TrialRecord

Floats = npt.NDArray[np.float64]
EPOCHS, NUM_RANDOM_BASELINES = 1, 3


@dataclass(frozen=True)
class Problem:
    """A space whose architectures can be asked for what a training of them gives, and for the truth."""

    space: SearchSpace
    objectives: tuple[str, ...]
    train: Callable[[Proposal], TrialRecord]
    """What the search is told."""
    truth: Callable[[str], Sequence[float]]
    """The objectives as they are without noise, in natural units, of a trained architecture given by its hash."""
    ideal: Floats
    corner: Floats
    """The box of the hypervolume: the best and the worst of each objective that count, minimised."""

    def scaled(self, values: Sequence[Sequence[float]]) -> Floats:
        """Return values in natural units, (points, objectives), with the box as the unit cube."""
        return (to_minimise(values, self.objectives) - self.ideal) / (self.corner - self.ideal)


def run_search(problem: Problem, sampler: str, trials: int, seed: int) -> list[FrozenTrial]:
    """Search to the end, and return what was trained, baselines first, in the order in which it was asked."""
    ledger = Ledger.open(InMemoryStorage(), "search", problem.objectives)
    for label, architecture in make_baselines(problem.space, NUM_RANDOM_BASELINES, seed):
        ledger.add(architecture, label=label, seed=seed, epochs=EPOCHS)
    proposer = Proposer(ledger, problem.space, SearchPlan(sampler, trials, seed, seed, EPOCHS, deterministic=True))
    while proposal := proposer.next():
        ledger.record(proposal.number, problem.train(proposal))
        ledger.tell(in_order=True)
    return [trial for trial in ledger.trials() if trial.state == TrialState.COMPLETE]


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


def mean_with_interval(values: Sequence[float]) -> list[float]:
    """Return the mean and Student's interval of 95 %."""
    n, mean = len(values), float(np.mean(values))
    half = float(student.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return [round(value, 4) for value in (mean, mean - half, mean + half)]


def reached_for_good(curve: Floats, goal: float) -> float:
    """Return the number of trainings from which on a curve is not below the goal; infinite if it is in the end."""
    below = np.flatnonzero(curve < goal)
    number = int(below[-1]) + 2 if len(below) else 1
    return number if number <= len(curve) else math.inf


def made_up_record(proposal: Proposal, **measured: Any) -> TrialRecord:
    """Return a finished trial's record that holds what is given."""
    architecture = proposal.architecture
    return TrialRecord(
        architecture=architecture.to_dict(),
        architecture_id=architecture.id,
        architecture_hash=architecture.hash,
        seed=proposal.seed,
        epochs=proposal.epochs,
        status="complete",
        wall_s=0.0,
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
