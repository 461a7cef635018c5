"""What a search still has to train, and how long that will take: from the study and a forecast, nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from nas.confirm import confirm_seeds
from nas.experiment import ConfirmConfig, ExperimentConfig
from nas.study import Ledger, Proposal
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
        done: epochs of what is running, by the number of its trial.
        num_workers: how many train at a time; at the end of a generation some of them have nothing to do.
    """
    records = [t.user_attrs["record"] for t in search.trials("proposal") if "record" in t.user_attrs]
    reached = [len(record["history"]) for record in records if record["status"] != "failed"]
    jobs = [_unfinished(each, done, reached if each.role == "proposal" else ()) for each in search.unfinished()]
    counts = search.counts()
    future = 0 if search.attributes.get("exhausted") else config.search.trials - counts.complete
    future = max(0, future - counts.running - counts.waiting)
    typical = _typical(search)
    times = Times.exactly(_in_rounds(future, config, search, num_workers)).share(max(1, len(typical)))
    epochs = _epochs_left(config.train.epochs, 0, reached)
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
        top, epochs = config.confirm.top, config.confirm.epochs
        each = count_trainings(config.confirm, len(baselines)).share(top + len(baselines))
        of_one_chosen = each.share(max(1, len(chosen)) / top)
        return [Job(a, epochs, each) for a in baselines] + [Job(a, epochs, of_one_chosen) for a in chosen]
    queued = [_unfinished(each, done or {}) for each in confirm.unfinished()]
    if not config.confirm.is_race:
        return queued
    more = count_trainings(config.confirm, len(baselines)).without(len(confirm.trials()))
    return queued + [Job(each, config.confirm.epochs, more.share(max(1, len(chosen)))) for each in chosen]


def count_trainings(config: ConfirmConfig, num_baselines: int) -> Times:
    """Return how many trainings a confirmation takes, the baselines' included."""
    entrants = config.top + num_baselines
    first = entrants * config.seeds
    if not config.is_race:
        return Times.exactly(first)
    most = entrants * len(confirm_seeds(config, 0))
    if config.budget is not None:
        first, most = min(first, config.budget), min(most, config.budget)
    return Times(first, (first + most) / 2, most)


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


def _unfinished(proposal: Proposal, done: Mapping[int, int], reached: Sequence[int] = ()) -> Job:
    behind = done.get(proposal.number, 0)
    return Job(proposal.architecture, _epochs_left(proposal.epochs, behind, reached), started=behind > 0)


def _epochs_left(epochs: int, behind: int, reached: Sequence[int]) -> float:
    """Return how many epochs are to be expected: those that the trials before had left when they were there."""
    further = [each - behind for each in reached if each > behind]
    return fmean(further) if further else epochs - behind


def _typical(search: Ledger) -> list[Architecture]:
    """Return the last proposals, or the baselines before there are any."""
    proposed = [t for t in search.trials("proposal") if "refused" not in t.user_attrs]
    return [search.architecture(t) for t in proposed[-MOST_RECENT:] or search.trials("baseline")]


def _in_rounds(future: int, config: ExperimentConfig, search: Ledger, num_workers: int) -> float:
    """Return a number of proposals with the workers' idle time at the end of each generation counted as proposals."""
    generation = int(search.attributes.get("generation", 1))
    if not config.search.deterministic or generation == 1:
        return future
    whole, rest = divmod(future, generation)
    return float(num_workers * (whole * math.ceil(generation / num_workers) + math.ceil(rest / num_workers)))
