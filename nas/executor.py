"""Executing proposals on the pool: whatever happens to a worker, each proposal ends as a record in the ledger."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas.early_stopping import EarlyStopping
from nas.experiment import ConfirmConfig
from nas.ledger_trial import Proposal
from nas.local_pool import Crashed, Done, LocalPool, Progress
from nas.progress import Watcher
from nas.study import Ledger
from nas.weights import checkpoint_path, drop_checkpoints, keep_front, weights_path
from nas.work import Task
from search_spaces import measure_cost
from search_spaces.errors import InputError
from search_spaces.plugins import plugins_of
from trials import TrialConfig, TrialRecord

MOST_ATTEMPTS = 3
"""Trainings of one proposal whose worker dies; a failure inside the training is final at once."""

MOST_FAILURES = 5
"""More failed trials than this, and than succeeded, end a search: something is wrong that more trials will not mend."""


@dataclass(frozen=True)
class _Running:
    proposal: Proposal
    task: Task
    attempt: int


class Executor:
    """Runs what a ledger hands out on a pool of workers, one proposal per idle worker, spread evenly over devices."""

    def __init__(
        self,
        pool: LocalPool[Task, dict[str, Any]],
        folder: Path,
        config: TrialConfig,
        devices: Sequence[str],
        watcher: Watcher,
    ) -> None:
        self._pool, self._folder, self._config, self._watcher = pool, folder, config, watcher
        self._devices = devices
        self._running: dict[int, _Running] = {}

    def run(
        self,
        ledger: Ledger,
        take: Callable[[], Proposal | None],
        *,
        in_order: bool,
        confirm: ConfirmConfig | None = None,
        stopping: EarlyStopping | None = None,
    ) -> None:
        """Run until `take` has nothing more and nothing is running.

        Args:
            ledger: where results go.
            take: hands out what to run next, or None.
            in_order: see `Ledger.tell`.
            confirm: given if these are confirming trainings, which measure the test split.
            stopping: decides about trials that pause at a rung.

        Raises:
            InputError: most trials fail; the message says why.
            KeyboardInterrupt: after what was running went back into the queue.
        """
        try:
            while True:
                ledger.check_driver()
                self._stop_early(ledger, stopping, in_order)
                while self._pool.num_idle and (proposal := take()):
                    self._start(_Running(proposal, self._task(proposal, confirm), attempt=1))
                if not self._running:
                    return
                for event in self._pool.wait(timeout=1.0):
                    self._handle(ledger, event, in_order)
                drop_checkpoints(self._folder, ledger)
                if confirm is None:
                    keep_front(self._folder, ledger)
                self._watcher.refresh()
        except BaseException:
            self._pool.kill()
            self._running.clear()
            ledger.release()
            raise

    def _stop_early(self, ledger: Ledger, stopping: EarlyStopping | None, in_order: bool) -> None:
        if stopping is None:
            return
        for number in stopping.decide():
            proposal, record = ledger.stopped(number)
            self._watcher.finished(proposal, record)
        ledger.tell(in_order=in_order)

    def _task(self, proposal: Proposal, confirm: ConfirmConfig | None) -> Task:
        train = self._config.train.model_copy(update={"epochs": proposal.target})
        busy = Counter(running.task.config["device"] for running in self._running.values())
        device = min(self._devices, key=lambda name: busy[name])
        config = self._config.model_copy(update={"train": train, "device": device, "test": confirm is not None})
        architecture, seed = proposal.architecture, proposal.seed
        is_last = proposal.target == proposal.epochs
        weights = str(weights_path(self._folder, architecture, seed, proposal.epochs)) if is_last else ""
        checkpoint = str(checkpoint_path(self._folder, architecture, seed))
        modules = dict.fromkeys(spec.module for _, specs in architecture.items for spec in specs)
        plugins = tuple(plugin.to_dict() for plugin in plugins_of(modules))
        return Task(architecture.to_dict(), config.model_dump(), seed, weights, checkpoint, plugins)

    def _start(self, running: _Running) -> None:
        number = running.proposal.number
        self._running[number] = running
        self._pool.submit(number, running.task)
        self._watcher.started(running.proposal)

    def _handle(self, ledger: Ledger, event: Progress | Done | Crashed, in_order: bool) -> None:
        running = self._running[event.key]
        if isinstance(event, Progress):
            self._watcher.progressed(running.proposal, event.payload)
            return
        del self._running[event.key]
        if isinstance(event, Crashed) and running.attempt < MOST_ATTEMPTS:
            self._start(replace(running, attempt=running.attempt + 1))
            return
        record = TrialRecord.from_dict(event.result) if isinstance(event, Done) else self._crashed(running, event)
        ledger.record(event.key, record)
        ledger.tell(in_order=in_order)
        if record.status == "complete" and record.epochs < running.proposal.epochs:
            self._watcher.paused(running.proposal)
        else:
            self._watcher.finished(running.proposal, record)
        _stop_if_most_fail(ledger, record)

    @staticmethod
    def _crashed(running: _Running, event: Crashed) -> TrialRecord:
        architecture, cost = running.proposal.architecture, measure_cost(running.proposal.architecture)
        return TrialRecord(
            architecture=architecture.to_dict(),
            architecture_id=architecture.id,
            architecture_hash=architecture.hash,
            seed=running.proposal.seed,
            epochs=running.proposal.target,
            status="failed",
            reason=f"the worker died {running.attempt} times: {event.reason}",
            params=cost.params,
            macs=cost.macs,
            wall_s=0.0,
            images_per_s=None,
            memory_bytes=None,
            memory_method="the worker died",
            device="unknown: the worker died",
            precision="fp32",
            num_train=0,
            num_validation=0,
            num_test=0,
            data_sha256="",
            versions={},
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _stop_if_most_fail(ledger: Ledger, record: TrialRecord) -> None:
    states = [ledger.counts(role) for role in ("proposal", "baseline")]
    failed, complete = sum(count.failed for count in states), sum(count.trained for count in states)
    if record.status == "failed" and failed > max(MOST_FAILURES, complete):
        raise InputError(
            f"stopped: {failed} trials failed and {complete} succeeded. The last failure: {record.reason}. "
            f"`nas status` lists them; what was found is kept"
        )
