"""Time per trial that is not training, and the time to open a study, by how many trials it holds.

A study is filled up by writing trials directly, in the states and sizes of real ones (proposals of the shipped space
`--space`, records with 24 epochs), but for the last `--last`; these are searched as `nas search` does: proposer,
sampler, ledger, executor and the progress on a console that goes nowhere. The trial function only makes up a record,

- `inline`: in the driver's process;
- `local`: in the worker processes of `LocalPool`, which have all started before the first result;
- `ray`: in trials of Ray Tune on this machine, which do all that they do on a cluster's node but the training.

The time of a trial is that between two results; of it, what the sampler took is told apart (how long it read the
study first is in `first_s`). The driver's CPU time per
trial says how many trials it can serve, whatever else the machine does. Until the first result (`first_s`) workers
start, and the sampler reads the study. Opening is the time to read the storage and to make the ledger of it, in a
process that has imported everything.

    python benchmarks/overhead.py [--sizes 100 1000 10000] [--postgresql URL]
"""

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from no_training import EPOCHS, made_up, no_training, no_training_on_node
from optuna.trial import TrialState, create_trial
from rich.console import Console

from nas import ray_cluster
from nas.experiment import Experiment, ExperimentConfig, Resources, load_space
from nas.proposals.parameters import ByKnob
from nas.proposals.proposer import Proposer, SearchPlan
from nas.running.execution import Execution, Rules
from nas.running.executor import Executor
from nas.running.local_executor import LocalExecutor
from nas.running.local_pool import LocalPool
from nas.running.progress import Watcher
from nas.study.home import SEARCH, StudyHome, place_study
from nas.study.ledger import Ledger
from search_spaces import SearchSpace
from trials import TrialConfig

OBJECTIVES = ("accuracy", "macs")
RESULTS = Path(__file__).parent / "results" / "overhead.json"


class Inline:
    """An executor without processes: a task is done when it is handed out."""

    num_workers = 1

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def run(self, execution: Execution) -> None:
        while (task := execution.next("cpu")) is not None:
            execution.finished(task[0], no_training(task[1], None))
            execution.tidy()


def local(workers: int) -> Executor:
    return LocalExecutor(LocalPool(workers, no_training, threads_per_worker=1), ["cpu"])


def ray(workers: int) -> Executor:
    made = ray_cluster.make_executor(ray_cluster.RaySettings(), Resources(), workers, "cpu")
    import nas.ray_cluster.executor as module

    module.train = no_training_on_node
    return made


EXECUTORS: dict[str, Callable[[int], Executor]] = {"inline": lambda _: Inline(), "local": local, "ray": ray}
"""Executors by name, each made for a number of workers; a further one is a further entry."""


def fill(storage: Any, study_id: int, space: SearchSpace, count: int) -> None:
    """Write finished proposals directly, each as the ledger leaves it."""
    rng, encoding = np.random.default_rng(1), ByKnob(space)
    for number in range(count):
        indices = space.sample_indices(rng)
        architecture = space.decode(indices)
        params, distributions = encoding.encode(indices)
        record = made_up(architecture, 0)
        attributes = {
            "role": "proposal",
            "label": None,
            "id": architecture.id,
            "hash": architecture.hash,
            "seed": 0,
            "epochs": EPOCHS,
            "architecture": architecture.to_dict(),
            "batch": [number, 1],
            "indices": [int(i) for i in indices],
        }
        trial = create_trial(
            state=TrialState.WAITING, params=params, distributions=distributions, user_attrs=attributes
        )
        trial_id = storage.create_new_trial(study_id, trial)
        storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        storage.set_trial_user_attr(trial_id, "record", record)
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [record["accuracy"], record["macs"]])


class Timed:
    """Adds up the time that the methods of an object take."""

    def __init__(self, what: Any, names: Sequence[str]) -> None:
        self.seconds = 0.0
        for name in names:
            setattr(what, name, self._timed(getattr(what, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - began

        return run


@contextmanager
def no_fsync(wanted: bool) -> Iterator[None]:
    """Fill a journal without waiting for the disk."""
    real = os.fsync
    if wanted:
        os.fsync = lambda _: None  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = real


class Ends:
    """When trials ended: notes after each of a ledger's records the wall time, the CPU time and the sampler's."""

    def __init__(self, ledger: Ledger, sampling: Timed) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.sampling: list[float] = []
        real = ledger.record

        def record(*arguments: Any) -> None:
            real(*arguments)
            self.wall.append(time.perf_counter())
            self.cpu.append(time.process_time())
            self.sampling.append(sampling.seconds)

        ledger.record = record  # type: ignore[method-assign]

    def row(self, start: float) -> dict[str, Any]:
        """Return what lay between them, in milliseconds, and the seconds until the first."""
        gaps_ms = [1e3 * (b - a) for a, b in pairwise(self.wall)]
        parts = statistics.quantiles(gaps_ms, n=20)
        return {
            "timed": len(self.wall),
            "first_s": round(self.wall[0] - start, 3),
            "median_ms": round(statistics.median(gaps_ms), 2),
            "mean_ms": round(statistics.mean(gaps_ms), 2),
            "p5_ms": round(parts[0], 2),
            "p95_ms": round(parts[-1], 2),
            "driver_cpu_ms": round(1e3 * (self.cpu[-1] - self.cpu[0]) / len(gaps_ms), 2),
            "sampler_mean_ms": round(1e3 * (self.sampling[-1] - self.sampling[0]) / len(gaps_ms), 2),
        }


def fill_up(home: StudyHome, space: SearchSpace, num: int) -> None:
    """Write trials until the study holds so many."""
    with home.drive(take_over=False) as driven, no_fsync(True):
        ledger = Ledger.open(driven.storage, home.optuna_name(SEARCH), OBJECTIVES)
        study_id = driven.storage.get_study_id_from_name(home.optuna_name(SEARCH))
        fill(driven.storage, study_id, space, max(0, num - ledger.counts().trained))


def measure(
    home: StudyHome, space: SearchSpace, sampler: str, executor: str, size: int, last: int, workers: int
) -> dict[str, Any]:
    fill_up(home, space, size - last)
    began, began_cpu = time.perf_counter(), time.process_time()
    with home.drive(take_over=False) as driven:
        ledger = Ledger.open(driven.storage, home.optuna_name(SEARCH), OBJECTIVES)
        open_s, open_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        experiment = experiment_of(space, sampler, size)
        deterministic = executor != "ray"  # as `nas search` has it, unless it is told otherwise
        proposer = Proposer(ledger, space, SearchPlan(sampler, size, 0, 0, EPOCHS, deterministic=deterministic))
        sampling = Timed(proposer._sampler, ("draw", "follow", "adopt"))
        watcher, ends = Watcher(Console(file=io.StringIO(), width=10_000)), Ends(ledger, sampling)
        trial = TrialConfig(data=experiment.config.data, train=experiment.config.train)
        with EXECUTORS[executor](workers) as workplace, tempfile.TemporaryDirectory() as folder:
            watcher.begin_search(experiment, ledger, workplace)
            start = time.perf_counter()
            workplace.run(
                Execution(ledger, proposer.next, Path(folder), trial, Rules(), watcher, in_order=deterministic)
            )
        assert ledger.counts().trained == size
    return {"trials": size, "open_s": round(open_s, 3), "open_cpu_s": round(open_cpu_s, 3), **ends.row(start)}


def experiment_of(space: SearchSpace, sampler: str, size: int) -> Experiment:
    config = ExperimentConfig.model_validate(
        {
            "space": "digits-gates",
            "data": {"source": "digits", "validation": 360},
            "train": {"epochs": EPOCHS, "batch_size": 64, "lr": 0.1},
            "search": {"sampler": sampler, "trials": size},
            "confirm": {"top": 0},
        }
    )
    return Experiment("overhead", config, space, {})


COLUMNS = {
    "storage": "storage",
    "executor": "executor",
    "sampler": "sampler",
    "trials": "trials",
    "open_s": "open s",
    "first_s": "first s",
    "median_ms": "median ms",
    "p5_ms": "5 % ms",
    "p95_ms": "95 % ms",
    "mean_ms": "mean ms",
    "driver_cpu_ms": "driver's CPU ms",
    "sampler_mean_ms": "sampler ms",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--last", type=int, default=100, help="trials that are searched and timed")
    parser.add_argument("--samplers", nargs="+", default=["random", "nsga2"])
    parser.add_argument("--executors", nargs="+", default=["inline", "local"], choices=list(EXECUTORS))
    parser.add_argument("--storages", nargs="+", default=["journal", "sqlite", "postgresql"])
    parser.add_argument("--postgresql", metavar="URL", help="an empty database; without it, none is measured")
    parser.add_argument("--space", default="resnet20-gates")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    space = load_space(given.space)
    storages = [name for name in given.storages if name != "postgresql" or given.postgresql]
    print(" | ".join(COLUMNS.values()))
    with tempfile.TemporaryDirectory() as scratch:
        for storage, size, sampler, executor in product(storages, given.sizes, given.samplers, given.executors):
            place = Path(scratch) / storage / f"{executor}-{sampler}-{size}"
            place.mkdir(parents=True)
            home = home_of(storage, place, given.postgresql)
            found = measure(home, space, sampler, executor, size, min(given.last, size), given.workers)
            row = {"storage": storage, "executor": executor, "sampler": sampler, **found}
            write(given.out, [row])
            print(*(row[name] for name in COLUMNS), sep=" | ", flush=True)
            shutil.rmtree(place)


def home_of(storage: str, place: Path, postgresql: str | None) -> StudyHome:
    """Return where a study of one measurement is kept."""
    where = {
        "journal": str(place),
        "sqlite": f"sqlite:///{place}/study.db",
        "postgresql": f"{postgresql}#{place.name}",
    }[storage]
    return place_study(where, place.name, place / "files" if storage != "journal" else None)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows; what the file holds of other storages, executors, samplers and sizes stays."""
    packages = ("optuna", "orjson", "sqlalchemy", "psycopg", "ray", "torch", "numpy")
    own = {
        "command": " ".join(["python", *("URL" if "://" in word else word for word in sys.argv)]),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
    told = [{**row, **own} for row in rows]
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    measured = {_what(row) for row in told}
    every = sorted([row for row in kept if _what(row) not in measured] + told, key=_what)
    path.write_text(json.dumps({"rows": every}, indent=1) + "\n")


def _what(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["storage"], row["executor"], row["sampler"], row["trials"]


if __name__ == "__main__":
    main()
