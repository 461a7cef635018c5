"""Carrying a ledger's proposals out: whatever happens to a worker, each ends as a record.

Where a task runs is an executor's affair (`nas.running.local_executor`, `nas.ray_cluster`); what it is, what becomes of
its result, and whether it is tried again is the same everywhere, and is here.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.experiment import KeepConfig
from nas.proposals.early_stopping import EarlyStopping
from nas.running.progress import Watcher
from nas.running.time_limit import hang_log_path
from nas.running.weights import checkpoint_path, drop_checkpoints, keep_front, weights_path
from nas.running.work import Task, record_of_death
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal
from search_spaces.errors import InputError
from search_spaces.plugins import plugins_of
from trials import TrialConfig, TrialRecord

MOST_ATTEMPTS = 3
"""Trainings of one proposal whose worker dies, or that fail in a way that may be the machine's."""

MOST_LOSSES = 10
"""Trainings of one proposal that are lost with their machine, which is not their fault as long as it is not a habit."""

MOST_FAILURES = 5
"""More failed trials than this, and than succeeded, end a search: something is wrong that more trials will not mend."""


@dataclass(frozen=True)
class Rules:
    """What an experiment says about its trainings beside how they are done."""

    keep: KeepConfig = field(default_factory=KeepConfig)
    """What stays on the disk."""
    time_limit: float | None = None
    """Seconds of one attempt."""


@dataclass(frozen=True)
class _Running:
    proposal: Proposal
    task: Task
    attempts: int = 1
    losses: int = 0


class Execution:
    """One phase of a search: takes what a ledger hands out, and records what came of it.

    Args:
        ledger: where results go.
        take: hands out what to run next, or None.
        folder: of the study.
        config: of a trial, but for its length and device.
        rules: which the experiment makes for all its trainings.
        watcher: shows the progress.
        in_order: see `Ledger.tell`.
        confirm: whether these are confirming trainings, which measure the test split, and keep all weights.
        stopping: decides about trials that pause at a rung.
    """

    def __init__(
        self,
        ledger: Ledger,
        take: Callable[[], Proposal | None],
        folder: Path,
        config: TrialConfig,
        rules: Rules,
        watcher: Watcher,
        *,
        in_order: bool,
        confirm: bool = False,
        stopping: EarlyStopping | None = None,
    ) -> None:
        self.folder, self.config, self.watcher = folder, config, watcher
        self._ledger, self._take, self._in_order = ledger, take, in_order
        self._confirm, self._stopping, self._rules = confirm, stopping, rules
        self._running: dict[int, _Running] = {}
        self._again: deque[_Running] = deque()

    @property
    def num_running(self) -> int:
        """How many tasks are handed out and have not ended."""
        return len(self._running)

    @property
    def is_over(self) -> bool:
        """Whether nothing is running or to be run again; ask after `next` had nothing."""
        return not self._running and not self._again

    def check_driver(self) -> None:
        """Raise InputError if another driver has taken the study over; ask often."""
        self._ledger.check_driver()

    def next(self, device: str) -> tuple[int, Task] | None:
        """Return the next task with its key, to be run on `device` now; None if there is none at present."""
        if self._again:
            before = self._again.popleft()
            config = {**before.task.config, "device": device}
            return self._start(replace(before, task=replace(before.task, config=config)))
        self._stop_early()
        proposal = self._take()
        return None if proposal is None else self._start(_Running(proposal, self._task(proposal, device)))

    def progressed(self, key: int, epoch: dict[str, Any]) -> None:
        """Take note of a finished epoch."""
        if running := self._running.get(key):
            self.watcher.progressed(running.proposal, epoch)

    def finished(self, key: int, result: dict[str, Any]) -> None:
        """Record what a task returned, or have it run again.

        Raises:
            InputError: most trials fail; the message says why.
        """
        self._settle(self._running.pop(key), TrialRecord.from_dict(result))

    def crashed(self, key: int, reason: str, *, is_lost: bool = False, seconds: float = 0.0) -> None:
        """Have a task run again that ended without a result, or give it up.

        Args:
            key: of the task.
            reason: why, as `record_of_death` takes it.
            is_lost: whether its machine went away, which says nothing about the task.
            seconds: how long it ran, as far as that is known.

        Raises:
            InputError: most trials fail; the message says why.
        """
        running = self._running.pop(key)
        if is_lost and running.losses < MOST_LOSSES:
            self._again.append(replace(running, losses=running.losses + 1))
            return
        attempts = running.losses + 1 if is_lost else running.attempts
        self._settle(running, record_of_death(running.task, reason, attempts, seconds))

    def tidy(self) -> None:
        """Remove files that are needed no more, and show how it stands: after some of the above."""
        drop_checkpoints(self.folder, self._ledger, self._rules.keep)
        if not self._confirm:
            keep_front(self.folder, self._ledger, self._rules.keep)
        self.watcher.refresh()

    def release(self) -> None:
        """Put what is running back into the queue: the executor is at its end before the search is."""
        self._running.clear()
        self._again.clear()
        self._ledger.release()

    def _stop_early(self) -> None:
        if self._stopping is None:
            return
        for number in self._stopping.decide():
            proposal, record = self._ledger.stopped(number)
            self.watcher.finished(proposal, record)
        self._ledger.tell(in_order=self._in_order)

    def _task(self, proposal: Proposal, device: str) -> Task:
        train = self.config.train.model_copy(update={"epochs": proposal.target})
        config = self.config.model_copy(update={"train": train, "device": device, "test": self._confirm})
        architecture, seed = proposal.architecture, proposal.seed
        has_weights = proposal.target == proposal.epochs and self._rules.keep.weights != "none"
        weights = self._name(weights_path(self.folder, architecture, seed, proposal.epochs)) if has_weights else ""
        checkpoint = self._name(checkpoint_path(self.folder, architecture, seed))
        modules = dict.fromkeys(spec.module for _, specs in architecture.items for spec in specs)
        plugins = tuple(plugin.to_dict() for plugin in plugins_of(modules))
        folder = str(self.folder.absolute())
        return Task(
            architecture.to_dict(),
            config.model_dump(),
            seed,
            folder,
            weights,
            checkpoint,
            plugins,
            self._rules.time_limit,
            self._name(hang_log_path(self.folder, architecture, seed)),
        )

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.folder))

    def _start(self, running: _Running) -> tuple[int, Task]:
        number = running.proposal.number
        self._running[number] = running
        self.watcher.started(running.proposal)
        return number, running.task

    def _settle(self, running: _Running, record: TrialRecord) -> None:
        if record.retryable and running.attempts < MOST_ATTEMPTS:
            self._again.append(replace(running, attempts=running.attempts + 1))
        else:
            self._record(running, record)

    def _record(self, running: _Running, record: TrialRecord) -> None:
        self._ledger.record(running.proposal.number, record)
        self._ledger.tell(in_order=self._in_order)
        if record.status == "complete" and record.epochs < running.proposal.epochs:
            self.watcher.paused(running.proposal)
        else:
            self.watcher.finished(running.proposal, record)
        self._stop_if_most_fail(record)

    def _stop_if_most_fail(self, record: TrialRecord) -> None:
        states = [self._ledger.counts(role) for role in ("proposal", "baseline")]
        failed, complete = sum(count.failed for count in states), sum(count.trained for count in states)
        if record.status == "failed" and failed > max(MOST_FAILURES, complete):
            raise InputError(
                f"stopped: {failed} trials failed and {complete} succeeded. The last failure: {record.reason}. "
                f"`nas status` lists them; what was found is kept"
            )
