"""How far one driver goes: many workers through the real ledger, and what would break first with more.

*Measured*: `--workers` simulated workers, which only wait, on the real ledger (a journal), proposer, sampler, execution
and progress of a search that is not deterministic. A trial takes a lognormal time of mean `--mean`, far less than a
training, so that the driver is asked as often as thousands of workers would ask it. Idle is a worker between the end of
a trial and the beginning of its next; the time after the last trial was handed out counts for nobody.

*Simulated*: a search of `--far-workers` workers and `--far-trials` trials of `--far-mean` seconds each. Workers that
are done queue for the driver, who serves one at a time. The time it takes is the one measured above, as CPU time (what
an idle machine would need, but for the disk) and as it was on this machine, growing with the number of trials as
`overhead.json` says, linearly beyond what was measured; so are memory, journal and time to open.

    python benchmarks/overhead.py
    python benchmarks/scale.py
"""

import argparse
import heapq
import io
import json
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from no_training import EPOCHS, made_up
from overhead import OBJECTIVES, fill, no_fsync
from rich.console import Console

from nas.experiment import Experiment, ExperimentConfig, load_space
from nas.proposals.proposer import Proposer, SearchPlan
from nas.running.execution import Execution, Rules
from nas.running.progress import Watcher
from nas.study.home import SEARCH, place_study
from nas.study.journal import JOURNAL
from nas.study.ledger import Ledger
from search_spaces import Architecture, SearchSpace
from trials import DataConfig, TrainConfig, TrialConfig

RESULTS = Path(__file__).parent / "results"
SIGMA = 0.5
"""Of the logarithm of a trial's length: the longest of a hundred takes ten times the shortest."""


@dataclass
class Waiting:
    """An executor whose workers are moments at which they will be done."""

    num_workers: int
    mean_s: float
    template: dict[str, Any]
    idle_s: float = 0.0
    """Between the end of a trial and the next, of all workers, as long as there is a next; their first is none."""
    slept_s: float = 0.0
    handed_out_at: list[float] = field(default_factory=list)

    def run(self, execution: Execution) -> None:
        dice = random.Random(0)
        began = time.perf_counter()
        idle = [began] * self.num_workers
        running: list[tuple[float, int, dict[str, Any]]] = []
        while True:
            execution.check_driver()
            while idle and (task := execution.next("cpu")) is not None:
                now = time.perf_counter()
                self.handed_out_at.append(now)
                if len(self.handed_out_at) > self.num_workers:
                    self.idle_s += now - idle.pop(0)
                else:  # its first
                    idle.pop(0)
                length = self.mean_s * dice.lognormvariate(-(SIGMA**2) / 2, SIGMA)
                found = {"architecture": task[1].architecture, "accuracy": dice.random(), "macs": dice.randrange(10**9)}
                heapq.heappush(running, (now + length, task[0], {**self.template, **found}))
            if execution.is_over:
                return
            pause = running[0][0] - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
                self.slept_s += pause
            while running and running[0][0] <= time.perf_counter():
                end, key, record = heapq.heappop(running)
                execution.finished(key, record)
                idle.append(end)
            execution.tidy()


def measure(space: SearchSpace, workers: int, mean_s: float, trials: int, sampler: str) -> dict[str, Any]:
    """Run a search of waiting workers."""
    with tempfile.TemporaryDirectory() as scratch:
        home = place_study(scratch, "scale")
        with home.drive(take_over=False) as driven:
            ledger = Ledger.open(driven.storage, home.optuna_name(SEARCH), OBJECTIVES, check=driven.check)
            search = {"sampler": sampler, "trials": trials, "deterministic": False}
            train = TrainConfig(epochs=EPOCHS, batch_size=64, lr=0.1)
            data = {"source": "digits", "validation": 360}
            config = ExperimentConfig.model_validate(
                {"space": "digits-gates", "data": data, "train": train.model_dump(), "search": search}
            )
            watcher = Watcher(Console(file=io.StringIO(), width=10_000))
            proposer = Proposer(ledger, space, SearchPlan(sampler, trials, 0, 0, EPOCHS, deterministic=False))
            workplace = Waiting(workers, mean_s, made_up(Architecture.of(space.hosts[0], {}), 0))
            watcher.begin_search(Experiment("scale", config, space, {}), ledger, workplace)
            task = TrialConfig(data=DataConfig.model_validate(data), train=train)
            began, cpu = time.perf_counter(), time.process_time()
            workplace.run(Execution(ledger, proposer.next, Path(scratch), task, Rules(), watcher, in_order=False))
            total_s, cpu = time.perf_counter() - began, time.process_time() - cpu
            assert ledger.counts().trained == trials
    until, full = workplace.handed_out_at[-1] - began, workplace.handed_out_at[workers - 1] - began
    return {
        "workers": workers,
        "trials": trials,
        "trial_mean_s": mean_s,
        "sampler": sampler,
        "wall_s": round(total_s, 1),
        "trials_per_s": round(trials / until, 1),
        "all_working_after_s": round(full, 1),
        "idle_share": round(workplace.idle_s / (workers * until), 4),
        "driver_busy_share": round(1 - workplace.slept_s / total_s, 3),
        "driver_ms": round(1e3 * (total_s - workplace.slept_s) / trials, 2),
        "driver_cpu_ms": round(1e3 * cpu / trials, 2),
    }


def sizes(space: SearchSpace, trials: int) -> dict[str, float]:
    """Measure what a trial takes of the journal, of memory and of the time to open a study."""
    with tempfile.TemporaryDirectory() as scratch:
        home = place_study(scratch, "scale")
        with home.drive(take_over=False) as driven, no_fsync(True):
            Ledger.open(driven.storage, SEARCH, OBJECTIVES)
            fill(driven.storage, driven.storage.get_study_id_from_name(SEARCH), space, trials)
        journal = (Path(scratch) / JOURNAL).stat().st_size
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            with home.drive(take_over=False) as driven:
                ledger = Ledger.open(driven.storage, SEARCH, OBJECTIVES)
                cpu = time.process_time() - cpu
                assert len(ledger.trials()) == trials
                after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(writing, f"{1024 * (after - before)} {cpu}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        memory, open_s = map(float, os.read(reading, 100).split())
    names = ("journal_bytes", "memory_bytes", "open_cpu_ms")
    return {name: round(value / trials, 3) for name, value in zip(names, (journal, memory, 1e3 * open_s), strict=True)}


def growth() -> float:
    """Return by how many ms the driver's CPU time per trial grows with each trial, from overhead.json."""
    rows = json.loads((RESULTS / "overhead.json").read_text())["rows"]
    what = ("journal", "local", "nsga2")
    points = [
        (row["trials"], row["driver_cpu_ms"])
        for row in rows
        if (row["storage"], row["executor"], row["sampler"]) == what and row["trials"] >= 1000
    ]
    (few, few_ms), (many, many_ms) = min(points), max(points)
    return max(0.0, (many_ms - few_ms) / (many - few)) if many > few else 0.0


def simulate(workers: int, trials: int, mean_s: float, base_ms: float, slope_ms: float) -> dict[str, Any]:
    """Run a search in made-up time: workers that are done queue for the driver."""
    dice = random.Random(0)
    ends = [0.0] * workers  # already a heap
    driver_free = idle_s = busy_s = 0.0
    for number in range(trials):
        end = heapq.heappop(ends)
        service = (base_ms + slope_ms * number) / 1e3
        driver_free = max(driver_free, end) + service
        busy_s += service
        idle_s += driver_free - end
        heapq.heappush(ends, driver_free + mean_s * dice.lognormvariate(-(SIGMA**2) / 2, SIGMA))
    last_ms = base_ms + slope_ms * trials
    return {
        "workers": workers,
        "trials": trials,
        "trial_mean_s": mean_s,
        "driver_ms_first_last": [round(base_ms, 1), round(last_ms, 1)],
        "hours": round(driver_free / 3600, 1),
        "idle_share": round(idle_s / (workers * driver_free), 4),
        "driver_busy_share": round(busy_s / driver_free, 3),
        "most_workers_at_the_end": int(mean_s / (last_ms / 1e3)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[64])
    parser.add_argument("--mean", type=float, nargs="+", default=[2.0, 4.0], help="seconds of a trial that only waits")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement, about")
    parser.add_argument("--sampler", default="nsga2")
    parser.add_argument("--space", default="resnet20-gates")
    parser.add_argument("--sized", type=int, default=2000, help="trials of the study whose size is measured")
    parser.add_argument("--far-workers", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--far-trials", type=int, default=100_000)
    parser.add_argument("--far-mean", type=float, nargs="+", default=[60.0, 300.0])
    parser.add_argument("--only-simulate", action="store_true", help="from what the file holds already")
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    given = parser.parse_args()
    space = load_space(given.space)
    facts: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("optuna", "orjson", "torch", "numpy")},
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "measured": [],
        "simulated": [],
    }
    if given.only_simulate:
        facts = {**json.loads(given.out.read_text()), "simulated": []}
    else:
        facts["per_trial"] = sizes(space, given.sized)
    for workers in [] if given.only_simulate else given.workers:
        for mean_s in given.mean:
            trials = round(workers * given.seconds / mean_s)
            facts["measured"].append(measure(space, workers, mean_s, trials, given.sampler))
            print(facts["measured"][-1], flush=True)
    for basis in ("driver_cpu_ms", "driver_ms"):
        base_ms = statistics.median(row[basis] for row in facts["measured"])
        for workers in given.far_workers:
            for mean_s in given.far_mean:
                row = simulate(workers, given.far_trials, mean_s, base_ms, growth())
                facts["simulated"].append({"basis": basis, **row})
                print(facts["simulated"][-1], flush=True)
    per_trial = facts["per_trial"]
    facts["far"] = {
        "trials": given.far_trials,
        "journal_GB": round(per_trial["journal_bytes"] * given.far_trials / 1e9, 2),
        "memory_GB": round(per_trial["memory_bytes"] * given.far_trials / 1e9, 2),
        "open_cpu_s": round(per_trial["open_cpu_ms"] * given.far_trials / 1e3, 1),
    }
    print(facts["far"])
    given.out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
