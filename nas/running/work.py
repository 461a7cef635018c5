"""What a worker does, train and measure one architecture; and what is recorded if it does not come to its end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.running.local_pool import WorkerBrokenError
from nas.running.time_limit import read_hang, time_limit
from search_spaces import Architecture, InputError
from search_spaces.plugins import Plugin, load_recorded
from trials import TrialConfig, TrialRecord, run_trial
from trials.record import EpochResult
from trials.unmeasured import unmeasured


@dataclass(frozen=True)
class Task:
    """One training, as plain data that travels to a worker."""

    architecture: dict[str, Any]
    config: dict[str, Any]
    seed: int
    folder: str
    """The study's, where the files below are."""
    weights: str
    """Where the trained weights go; nowhere if empty."""
    checkpoint: str = ""
    """The file that its training goes on from, after a rung or an interruption; none if empty."""
    plugins: tuple[dict[str, Any], ...] = ()
    """The user's own modules that it needs, as `Plugin.to_dict` writes them."""
    time_limit: float | None = None
    """Seconds after which it is taken to hang, and its worker ends; None: never."""
    hang_log: str = ""
    """The file that it then writes where it stood, for `record_of_death`; to standard error if empty."""

    def place(self, name: str) -> Path | None:
        """Return where one of its files is; None if there is none."""
        return Path(self.folder, name) if name else None


def run_task(task: Task, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the task, reporting every epoch, and return its record as plain data.

    If it takes longer than its limit, the process ends: see `record_of_death`.

    Raises:
        WorkerBrokenError: its accelerator failed, and this process can use it no more.
    """
    with time_limit(task.time_limit, task.place(task.hang_log)):
        record = _train(task, report)
    if record.failure == "device":
        raise WorkerBrokenError(f"{record.reason}\n{record.traceback}")
    return record.to_dict()


def _train(task: Task, report: Callable[[dict[str, Any]], None]) -> TrialRecord:
    def on_epoch(result: EpochResult) -> None:
        report(asdict(result))

    for plugin in task.plugins:
        load_recorded(Plugin.from_dict(plugin))
    architecture = Architecture.from_dict(task.architecture)
    try:
        return run_trial(
            architecture,
            TrialConfig.model_validate(task.config),
            task.seed,
            on_epoch=on_epoch,
            weights=task.place(task.weights),
            checkpoint=task.place(task.checkpoint),
        )
    except InputError as error:
        return unmeasured(architecture, task.seed, _epochs(task), "input", " ".join(str(error).split()))


def record_of_death(task: Task, reason: str, attempts: int, seconds: float = 0.0) -> TrialRecord:
    """Return the record of a task whose worker returned none; `retryable` says whether to try again.

    What the worker left behind about where it stood is removed.

    Args:
        task: what was to be done.
        reason: as the executor gives it: one line, perhaps with a traceback below, or a traceback alone.
        attempts: how often it was tried.
        seconds: how long it ran, as far as that is known: on another machine it leaves nothing behind.
    """
    architecture = Architecture.from_dict(task.architecture)
    log = task.place(task.hang_log)
    stood = read_hang(log) if log else None
    if task.time_limit is not None and (stood is not None or seconds >= task.time_limit):
        told = f"ran past its time limit of {task.time_limit:g} s"
        return unmeasured(architecture, task.seed, _epochs(task), "time", told, stood)
    lines = reason.strip().splitlines() or ["no reason was given"]
    if lines[0].startswith("Traceback"):
        told = f"failed {attempts} times: {lines[-1]}"
        return unmeasured(architecture, task.seed, _epochs(task), "crash", told, reason)
    told, below = f"the worker died {attempts} times: {lines[0]}", "\n".join(lines[1:]) or None
    return unmeasured(architecture, task.seed, _epochs(task), "worker", told, below)


def _epochs(task: Task) -> int:
    return int(task.config["train"]["epochs"])
