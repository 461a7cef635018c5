"""What a person sees while a search runs: a live panel on a terminal, else one plain line per finished trial."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.experiment import Experiment
from nas.running.sparing import Sparing
from nas.running.time_left import jobs_of_confirmation, jobs_of_search, time_left
from nas.running.tracking import TrialLogger
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal
from nas.study.trained import TrainedTrials
from reports.quality import quality_of
from search_spaces.space.host_choices import hosts_in_words
from trials import TrialRecord
from trials.cost_model import Prediction
from trials.forecast import Forecast

_MOST_READ = 60
"""Of so many trials a forecast is made: the law is found by then, and each costs some 20 ms once for its features."""


class Workers(Protocol):
    """What does the work."""

    @property
    def num_workers(self) -> int:
        """How many trials run at a time, as things stand now."""


class Watcher:
    """Follows a search and says how it stands. `quiet` says nothing."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=2) if console and console.is_terminal else None
        self._running: dict[int, tuple[Proposal, dict[str, Any]]] = {}
        self._phase = ""
        self._ledger: Ledger | None = None
        self._experiment: Experiment | None = None
        self._search: Ledger | None = None
        self._trained: list[TrainedTrials] = []
        self._forecast = Forecast([])
        self._left: Prediction | None = None
        self._looks, self._sums = Sparing(), Sparing()
        self._goal = 0
        self._workers: Workers | None = None
        self.loggers: Sequence[TrialLogger] = ()
        """Told of every epoch and every end; closed with the watcher."""

    @staticmethod
    def for_terminal() -> "Watcher":
        """Return a watcher that writes to standard output."""
        console = Console(highlight=False)
        return Watcher(console if console.is_terminal else Console(highlight=False, width=10_000))

    @staticmethod
    def quiet() -> "Watcher":
        """Return a watcher that says nothing."""
        return Watcher(None)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        for logger in self.loggers:
            logger.close()

    def begin_search(self, experiment: Experiment, ledger: Ledger, workers: Workers) -> None:
        """Begin the search phase: `search.trials` proposals, and the baselines."""
        self._experiment, self._search = experiment, ledger
        baselines = len(ledger.trials("baseline"))
        self._begin("search", ledger, experiment.config.search.trials + baselines)
        self._workers = workers
        self.say(
            f"searching {experiment.space.size:,} architectures on {hosts_in_words(experiment.space.hosts)}: "
            f"{experiment.config.search.trials} trials ({experiment.config.search.sampler}) and {baselines} baselines "
            f"of {experiment.config.train.epochs} epochs, {workers.num_workers} at a time"
        )
        done = self._num_done()
        if done:
            self.say(f"going on from {done} finished trials")

    def begin_confirm(self, ledger: Ledger) -> None:
        """Begin the confirmation: everything that is queued."""
        total = len(ledger.trials())
        self._begin("confirm", ledger, total)
        if left := len(ledger.unfinished()):
            self.say(f"confirming: {left} trainings of {ledger.unfinished()[0].epochs} epochs")

    def _begin(self, phase: str, ledger: Ledger, goal: int) -> None:
        self._phase, self._ledger, self._goal = phase, ledger, goal
        self._running.clear()
        if self._console:
            self._looks, self._sums = Sparing(), Sparing()
            self._trained = [TrainedTrials(each) for each in dict.fromkeys((self._search or ledger, ledger))]
            self._look_ahead()

    def started(self, proposal: Proposal) -> None:
        """Take note that a training started (or started again)."""
        self._running[proposal.number] = (proposal, {})

    def progressed(self, proposal: Proposal, epoch: dict[str, Any]) -> None:
        """Take note of a finished epoch."""
        self._running[proposal.number] = (proposal, epoch)
        for logger in self.loggers:
            logger.epoch(self._phase, proposal, epoch)

    def paused(self, proposal: Proposal) -> None:
        """Take note that a training has reached a rung and waits for what is decided about it."""
        self._running.pop(proposal.number, None)
        self.refresh()

    def finished(self, proposal: Proposal, record: TrialRecord) -> None:
        """Take note of a finished, stopped or failed trial, and say so."""
        self._running.pop(proposal.number, None)
        for logger in self.loggers:
            logger.end(self._phase, proposal, record)
        if self._console is None:
            return
        self._look_ahead()
        what = proposal.label or proposal.architecture.id
        head = f"{self._phase} {proposal.number:>3} {what:<16}"
        if record.status == "failed" or record.accuracy is None:
            self.say(f"{head} FAILED: {record.reason}")
        else:
            quality = quality_of([record])
            stopped = f"stopped at {record.epochs} of {proposal.epochs} epochs, " * (record.epochs < proposal.epochs)
            self.say(
                f"{head} {stopped}{quality.words} {quality.value(record) or 0:.2%}  loss {record.loss:.4f}  "
                f"{record.params:,} params  {record.macs:,} MACs  {record.wall_s:.1f} s   [{self._standing()}]"
            )
        for warning in record.warnings:
            self.say(f"{head} WARNING: {warning}")
        self.refresh()

    def say(self, line: str) -> None:
        """Print a line."""
        if self._console:
            self._console.print(line, markup=False)

    def refresh(self) -> None:
        """Draw the panel anew."""
        if self._live:
            self._live.update(self._panel())

    def _panel(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for proposal, epoch in self._running.values():
            done = epoch.get("epoch", 0)
            quality = epoch.get("miou") if epoch.get("miou") is not None else epoch.get("accuracy")
            shown = "" if quality is None else f"{quality:.2%}"
            bar = ProgressBar(total=proposal.target, completed=done, width=24)
            table.add_row(proposal.label or proposal.architecture.id, bar, f"{done}/{proposal.target} epochs", shown)
        return Group(table, Text(f"{self._phase}: {self._standing()}", style="bold"))

    def _standing(self) -> str:
        done, failed = self._num_done(), self._num_failed()
        parts = [f"{done}/{self._goal} done", f"{len(self._running)} running", f"{failed} failed"]
        assert self._ledger is not None
        front = self._ledger.front
        if self._phase == "search" and front.size:
            parts.append(f"front {front.size}, hypervolume {front.hypervolume:.3f}")
        if self._sums.are_due:
            with self._sums:
                self._left = self._time_left()
        if left := self._left:
            parts.append(f"about {_in_words(left)} left")
        return ", ".join(parts)

    def _look_ahead(self) -> None:
        """Forecast anew, from what was trained last."""
        if self._looks.are_due:
            with self._looks:
                self._forecast = Forecast([each for trained in self._trained for each in trained.latest(_MOST_READ)])

    def _time_left(self) -> Prediction | None:
        """Return the seconds to the end, the confirmation included; None as long as nothing is known."""
        if self._experiment is None or self._search is None or self._ledger is None:
            return None
        num_workers = self._workers.num_workers if self._workers else 1
        config, done = self._experiment.config, {n: epoch.get("epoch", 0) for n, (_, epoch) in self._running.items()}
        if self._phase == "search":
            jobs = jobs_of_search(config, self._search, done, num_workers)
            jobs += jobs_of_confirmation(config, self._search)
        else:
            jobs = jobs_of_confirmation(config, self._search, self._ledger, done)
        return time_left(jobs, self._forecast, num_workers)

    def _num_done(self) -> int:
        assert self._ledger is not None
        return sum(self._ledger.counts(role).trained for role in ("proposal", "baseline"))

    def _num_failed(self) -> int:
        assert self._ledger is not None
        return sum(self._ledger.counts(role).failed for role in ("proposal", "baseline"))


def _in_words(left: Prediction) -> str:
    if left.low is None or left.high is None:
        return _duration(left.value)
    return f"{_duration(left.value)} ({_duration(left.low)} to {_duration(left.high)})"


def _duration(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
