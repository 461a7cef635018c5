"""Ray Tune's view of a study: what to run next, and what became of it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from nas.ray_cluster.exchange import Outbox
from nas.ray_cluster.on_node import EPOCH, HAS_SENT, RECORD
from nas.ray_cluster.parcel import Parcel
from nas.running.execution import Execution
from nas.running.work import Task
from search_spaces import Architecture


class StudySearcher(Searcher):
    """Hands out an execution's tasks to Tune, one Tune trial for each.

    Args:
        execution: what is run.
        outbox: where files come from that nodes without the study's folder have written.
        device: of a task, on its node.
        most: returns how many tasks may be handed out at a time.
    """

    def __init__(self, execution: Execution, outbox: Outbox, device: str, most: Callable[[], int]) -> None:
        super().__init__()
        self._execution, self._outbox, self._device, self._most = execution, outbox, device, most
        self._handed_out: dict[str, tuple[int, Task]] = {}
        self.errors: dict[str, tuple[str, float]] = {}
        """What Tune says about a trial that ended badly, and after how many seconds, by its id; see `Errors`."""
        self.failure: Exception | None = None
        """What ends the search; Tune would swallow it."""
        self.stopper = _Stopper(lambda: self.failure is not None)

    # Tune gives the signatures.
    def suggest(self, trial_id: str) -> Any:
        return self._guarded(lambda: self._suggest(trial_id), Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._guarded(lambda: self._take_note(trial_id, result), None)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002
        self._guarded(lambda: self._end(trial_id, result or {}), None)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the record."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search goes on from its study, not from Tune's files")

    def get_state(self) -> dict[str, Any]:
        return {}

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self._execution.check_driver()
        if self._execution.num_running >= self._most():
            return None
        found = self._execution.next(self._device)
        if found is None:
            return Searcher.FINISHED if self._execution.is_over else None
        key, task = self._handed_out[trial_id] = found
        self._outbox.send_checkpoints(task)
        return {
            "number": key,
            "architecture": Architecture.from_dict(task.architecture).id,
            "seed": task.seed,
            "epochs": task.config["train"]["epochs"],
            "parcel": Parcel(task),
        }

    def _take_note(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id not in self._handed_out:
            return
        key, _ = self._handed_out[trial_id]
        if result.get(HAS_SENT):
            self._outbox.collect()
        if RECORD in result:
            self._close(trial_id)
            self._execution.finished(key, json.loads(result[RECORD]))
            self._execution.tidy()
        elif EPOCH in result:
            self._execution.progressed(key, json.loads(result[EPOCH]))

    def _end(self, trial_id: str, result: dict[str, Any]) -> None:
        self._take_note(trial_id, result)
        error, seconds = self.errors.pop(trial_id, ("it ended without a result", 0.0))
        if trial_id in self._handed_out:
            self._outbox.collect()  # its node may have died before it could say that it had sent something
            key = self._close(trial_id)
            self._execution.crashed(key, error, is_lost=_is_lost(error), seconds=seconds)
            self._execution.tidy()

    def _close(self, trial_id: str) -> int:
        key, task = self._handed_out.pop(trial_id)
        self._outbox.forget(task)
        return key

    def _guarded(self, step: Callable[[], Any], otherwise: Any) -> Any:
        if self.failure is None:
            try:
                return step()
            except Exception as error:  # it is raised again when Tune has come to its end
                self.failure = error
        return otherwise


class Errors(FIFOScheduler):
    """Tells the searcher why a trial ended badly, which Tune tells schedulers only."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its own state down, which nobody reads

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        # Tune's own way to the text looks into storage, where it is not yet.
        written = Path(trial.error_file).read_text() if trial.error_file else ""
        text = written.partition("\n")[2].strip() or "no message"
        if text.startswith("ray::"):  # an exception of the task, with its traceback
            text = f"Traceback on its node: {text}"
        begin = trial.run_metadata.start_time
        self._searcher.errors[trial.trial_id] = text, 0.0 if begin is None else time.time() - begin


class _Stopper(Stopper):
    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._is_over()


LOST = ("node has died", "node was terminated", "node was preempted", "temporarily unavailable")
"""What Ray says of an actor whose machine went away; the last before it knows more than that nothing answers there."""


def _is_lost(error: str) -> bool:
    return any(words in error for words in LOST)
