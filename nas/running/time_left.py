"""What a search still has to train, and how long that will take: from the study and a forecast, nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from optuna.trial import FrozenTrial

from nas.confirm.confirmations import confirm_seeds
from nas.experiment import ConfirmConfig, ExperimentConfig
from nas.study.ledger import Ledger
from nas.study.ledger_index import UNFINISHED
from nas.study.ledger_trial import state_of, target_of
from search_spaces import Architecture
from trials.cost_model import Prediction
from trials.forecast import Forecast

MOST_RECENT = 20
"""Of so many proposals the mean stands for what the search will still propose."""


@dataclass(frozen=True)
class Times:
    """How often something is still to be trained; not a whole number where it is a share of many."""

    fewest: float
    expected: float
    most: float

    @staticmethod
    def exactly(count: float) -> "Times":
        """Return a number that is certain."""
        return Times(count, count, count)

    def share(self, among: float) -> "Times":
        """Return one of equal shares."""
        return Times(self.fewest / among, self.expected / among, self.most / among)

    def without(self, done: int) -> "Times":
        """Return what is left when some of it is done."""
        return Times(*(max(0.0, each - done) for each in (self.fewest, self.expected, self.most)))


_ONCE = Times.exactly(1)


@dataclass(frozen=True)
class Job:
    """A training to come."""

    architecture: Architecture
    epochs: float
    times: Times = _ONCE
    started: bool = False


def jobs_of_search(config: ExperimentConfig, search: Ledger, done: Mapping[int, int], num_workers: int) -> list[Job]:
    """Return what the search still has to train.

    Args:
        config: of the experiment.
        search: its ledger.
        done: epochs of what is running, also those that it went on from, by the number of its trial.
        num_workers: how many train at a time; at the end of a generation some of them have nothing to do.
    """
    jobs = [_unfinished(config, search, trial, done.get(trial.number, 0)) for trial in _open_trials(search)]
    counts = search.counts()
    future = max(0, config.search.trials - counts.trained - counts.unfinished)
    if search.attributes.get("exhausted"):
        future = 0
    typical = _typical(search)
    times = Times.exactly(_in_rounds(future, config, search, num_workers)).share(max(1, len(typical)))
    stopping = config.search.early_stopping
    epochs = _epochs_ahead(config, [*(stopping.rungs if stopping else ()), config.train.epochs], 0)
    return jobs + ([Job(each, epochs, times) for each in typical] if future else [])


def jobs_of_confirmation(
    config: ExperimentConfig, search: Ledger, confirm: Ledger | None = None, done: Mapping[int, int] | None = None
) -> list[Job]:
    """Return what the confirmation has to train, all of it or what is left by its own ledger; `done` as above."""
    if not config.confirm.top:
        return []
    baselines = [search.architecture(t) for t in search.trials("baseline")]
    chosen = _typical(search)
    if confirm is None:
        top, epochs = config.confirm.top + num_controls(config.confirm), config.confirm.epochs
        each = count_trainings(config.confirm, len(baselines)).share(top + len(baselines))
        of_one_chosen = each.share(max(1, len(chosen)) / top)
        return [Job(a, epochs, each) for a in baselines] + [Job(a, epochs, of_one_chosen) for a in chosen]
    queued = [_unfinished(config, confirm, each, (done or {}).get(each.number, 0)) for each in _open_trials(confirm)]
    if not config.confirm.is_race:
        return queued
    more = count_trainings(config.confirm, len(baselines)).without(len(confirm.trials()))
    return queued + [Job(each, config.confirm.epochs, more.share(max(1, len(chosen)))) for each in chosen]


def count_trainings(config: ConfirmConfig, num_baselines: int) -> Times:
    """Return how many trainings a confirmation takes, the baselines' included."""
    fewest = (config.top + num_baselines) * config.seeds
    entrants = config.top + num_baselines + num_controls(config)
    first, most = entrants * config.seeds, entrants * len(confirm_seeds(config, 0))
    if config.budget is not None:
        fewest, first, most = (min(each, config.budget) for each in (fewest, first, most))
    return Times(fewest, (first + most) / 2, most)


def num_controls(config: ConfirmConfig) -> int:
    """Return how many controls of equal cost there may be; some may be baselines, or not be found."""
    return config.max_controls if config.controls else 0


def time_left(jobs: Sequence[Job], forecast: Forecast, num_workers: int) -> Prediction | None:
    """Return the seconds until all jobs are done, or None if nothing is known yet.

    The interval adds up the ends of each job's interval, as if all erred in the same direction: that is what errors
    do when the machine is busier than it was.
    """
    found = [(job.times, forecast.seconds(job.architecture, job.epochs, started=job.started)) for job in jobs]
    known = [(times, seconds) for times, seconds in found if seconds is not None]
    if len(known) < len(found):
        return None
    value = _span([(times.expected, seconds.value) for times, seconds in known], num_workers)
    if any(seconds.low is None or seconds.high is None for _, seconds in known):
        return Prediction(value)
    low = _span([(times.fewest, seconds.low or 0.0) for times, seconds in known], num_workers)
    high = _span([(times.most, seconds.high or 0.0) for times, seconds in known], num_workers)
    return Prediction(value, low, high)


def _span(work: Sequence[tuple[float, float]], num_workers: int) -> float:
    """Return how long workers take that share the work: no less than its longest piece."""
    total = sum(times * seconds for times, seconds in work)
    return max(total / num_workers, max((seconds for times, seconds in work if times), default=0.0))


def _open_trials(ledger: Ledger) -> list[FrozenTrial]:
    return ledger.in_state(*UNFINISHED)


def _unfinished(config: ExperimentConfig, ledger: Ledger, trial: FrozenTrial, done: int) -> Job:
    """Return what is left of a trial of which so many epochs are done in its present leg."""
    rungs, target, is_paused = trial.user_attrs.get("rungs", ()), target_of(trial), state_of(trial) == "paused"
    before = max((rung for rung in rungs if rung < target or (is_paused and rung == target)), default=0)
    ends = [end for end in (*rungs, trial.user_attrs["epochs"]) if end > before]
    epochs = _epochs_ahead(config, ends, max(done, _stable(config, before)))
    chance = _share_that_goes_on(config) if is_paused else 1.0
    return Job(ledger.architecture(trial), chance * epochs, started=done > 0)


def _epochs_ahead(config: ExperimentConfig, ends: Sequence[int], behind: int) -> float:
    """Return the epochs of trainings that end after so many each, as far as early stopping lets a trial come.

    A rung's cool-down is no part of the training that goes on from it.
    """
    epochs, chance = 0.0, 1.0
    for end in ends:
        epochs += chance * (end - behind)
        behind = _stable(config, end)
        chance *= _share_that_goes_on(config)
    return epochs


def _stable(config: ExperimentConfig, epochs: int) -> int:
    return config.train.model_copy(update={"epochs": epochs}).stable_epochs if epochs else 0


def _share_that_goes_on(config: ExperimentConfig) -> float:
    stopping = config.search.early_stopping
    if stopping is None:
        return 1.0
    return 1 - (1 - 1 / stopping.reduction_factor) * (1 - stopping.let_live)


def _typical(search: Ledger) -> list[Architecture]:
    """Return the last proposals, or the baselines before there are any."""
    proposed = (trial for trial in search.latest("proposal") if "refused" not in trial.user_attrs)
    recent = list(islice(proposed, MOST_RECENT))[::-1]
    return [search.architecture(trial) for trial in recent or search.trials("baseline")]


def _in_rounds(future: int, config: ExperimentConfig, search: Ledger, num_workers: int) -> float:
    """Return a number of proposals with the workers' idle time at the end of each generation counted as proposals."""
    generation = int(search.attributes.get("generation", 1))
    if not config.search.deterministic or generation == 1:
        return future
    whole, rest = divmod(future, generation)
    return float(num_workers * (whole * math.ceil(generation / num_workers) + math.ceil(rest / num_workers)))
