"""One search under faults: `nas search` in processes of its own, which are killed, stopped and started again."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos_checks import Invariant, Key, Snapshot, check, look
from chaos_cluster import Cluster
from chaos_processes import Process, alive, children_like, command_line, descendants, tagged

from nas.study.journal import JOURNAL

ROOT = Path(__file__).resolve().parents[1]
TAG = "NAS_CHAOS"
"""The variable that everything is started with, by which it is found again."""

MOST_HITS = 2
"""Worker kills that may have met one trial: the third would fail it, which is promised, and no bit-equal search."""

MOST_FAILURES = 3
"""Drivers that end otherwise than they should before it is given up."""

PATIENCE_S = 120.0
"""How long something that has to happen may take on a busy machine."""

EXPERIMENT = """
description: short real trainings
space:
  host: {name: resnet20, classes: 10, input: 8, channels: 1, width: 0.25}
  choices:
    - at: "*/branch"
      per: block
      modules: {none: {}, se: {reduction: [2, 4]}, eca: {kernel_size: 3}}
data: {source: digits, validation: 50, training: 100}
train: {epochs: 2, batch_size: 50, lr: 0.1, warmup: 0.5}
objectives: [accuracy, macs]
search: {sampler: nsga2, trials: TRIALS, seed: SEED, workers: 2, random_baselines: 1, deterministic: true}
confirm: {top: 2, seeds: 1, epochs: 2, controls: []}
"""


@dataclass(frozen=True)
class Fault:
    """Something that is done to a search."""

    kind: str
    """`worker`, `node`: killed. `driver`: killed, `torn`: and half a line appended to its journal. `interrupt`: Ctrl-C.
    `second`: another driver is started, `take-over`: with that option."""
    lines: int
    """So many lines of the driver's output after the fault before it, or after the driver's start."""
    pause_s: float
    """And so much later."""


KINDS = {"worker": 12, "driver": 5, "torn": 3, "node": 3, "interrupt": 2, "second": 2, "take-over": 3}
"""How often each happens, in parts."""


def any_faults(moments: random.Random, executor: str, storage: str) -> Iterator[Fault]:
    """Draw faults without end, at random moments: also while a driver has only just begun."""
    impossible = {"node": executor == "local", "torn": storage != "folder"}
    kinds = {kind: parts for kind, parts in KINDS.items() if not impossible.get(kind)}
    while True:
        (kind,) = moments.choices(list(kinds), list(kinds.values()))
        early = kind in ("driver", "torn") and moments.random() < 0.25
        yield Fault(kind, 0 if early else moments.randrange(1, 7), moments.uniform(0, 8.0 if early else 1.0))


@dataclass(frozen=True)
class Found:
    """What became of a search under faults."""

    executor: str
    storage: str
    trials: int
    faults: dict[str, int]
    starts: int
    invariants: list[Invariant]
    looks: int
    """Looks at the study while it was searched."""
    wall_s: float
    undisturbed_s: float | None
    messages: list[str]
    """The last lines of drivers that ended otherwise than they should."""


class Chaos:
    """Runs one search under faults.

    Args:
        folder: for everything that is written; it must be empty.
        executor: `local` or `ray`.
        storage: `folder` or `sqlite`.
        trials: the budget.
        seed: of the search, and of what is killed.
        say: is told what happens.
    """

    def __init__(
        self, folder: Path, executor: str, storage: str, trials: int, seed: int, say: Callable[[str], None] = print
    ) -> None:
        self._folder, self._executor, self._storage = folder, executor, storage
        self._trials, self._seed, self._say = trials, seed, say
        self._moments = random.Random(f"{seed} {executor} {storage}")
        self._files = folder / "study"
        self._study = str(self._files) if storage == "folder" else f"sqlite:///{folder}/study.db#chaos"
        self._experiment = folder / "chaos.yaml"
        self._experiment.write_text(EXPERIMENT.replace("TRIALS", str(trials)).replace("SEED", str(seed)))
        self._tag = uuid.uuid4().hex
        self._cluster: Cluster | None = None
        self._driver: subprocess.Popen[bytes] | None = None
        self._next: Fault | None = None
        self._drivers: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        self._processes: set[Process] = set()
        self._seen: dict[Key, str] = {}
        self._hits: Counter[Key] = Counter()
        self._looks, self._started = 0, 0.0
        self._done: Counter[str] = Counter()
        self._exits: list[str] = []
        self._messages: list[str] = []

    def run(self, faults: Iterator[Fault] | Sequence[Fault], until_s: float, *, compare: bool) -> Found:
        """Search once without faults if `compare`, then with `faults` for `until_s` seconds, and check.

        Whatever happens, nothing that was started is left running.
        """
        undisturbed, undisturbed_s = self._search_undisturbed() if compare else (None, None)
        before = os.environ.get(TAG)
        os.environ[TAG] = self._tag
        began = time.monotonic()
        try:
            if self._executor == "ray":
                self._cluster = Cluster(2, os.getpid())
            self._drive(iter(faults), began + until_s)
            wall_s = time.monotonic() - began
        finally:
            left = self._end()
            if before is None:
                del os.environ[TAG]
            else:
                os.environ[TAG] = before
        invariants = check(
            self._study,
            self._files,
            trials=self._trials,
            seen=self._seen,
            exits=self._exits,
            report_after=self._started,
            processes=left,
            undisturbed=undisturbed,
        )
        return Found(
            executor=self._executor,
            storage=self._storage,
            trials=self._trials,
            faults={kind: self._done[kind] for kind in KINDS},
            starts=len(self._drivers),
            invariants=invariants,
            looks=self._looks,
            wall_s=round(wall_s, 1),
            undisturbed_s=undisturbed_s,
            messages=self._messages,
        )

    def _search_undisturbed(self) -> tuple[Snapshot, float]:
        """Run the same search in the local pool into a study of its own."""
        self._say("the search without faults")
        study, began = self._folder / "undisturbed", time.monotonic()
        command = [*self._command()[:4], str(self._experiment), "--device", "cpu", "--study", str(study)]
        driver = self._spawn(command)
        try:
            if driver.wait() != 0:
                raise RuntimeError(f"the search without faults failed:\n{self._tail(driver)}")
        finally:
            driver.kill()
            driver.wait()
        self._drivers.remove(driver)
        return look(str(study)), round(time.monotonic() - began, 1)

    # Faults

    def _drive(self, faults: Iterator[Fault], deadline: float) -> None:
        """Start drivers until one has come to the end of the search."""
        failures = 0
        while failures < MOST_FAILURES:
            self._driver = self._start()
            ended = self._harass(faults, deadline)
            self._look()
            if ended.returncode == 0:
                return
            if ended.returncode not in (-signal.SIGKILL, 130):
                self._blame(ended, f"exit code {ended.returncode}")
                failures += 1

    def _harass(self, faults: Iterator[Fault], deadline: float) -> subprocess.Popen[bytes]:
        """Bring faults about until the driver, or the one that took over from it, has ended; return that."""
        assert self._driver is not None
        since = 0
        while time.monotonic() < deadline and (fault := self._next or next(faults, None)):
            self._next = fault
            if not self._await(self._driver, fault, since):
                return self._driver
            self._next, before, since = None, self._driver, self._lines(self._driver)
            self._look()
            self._commit(fault)
            if self._driver is not before:
                since = 0
            if self._driver.poll() is not None:
                return self._driver
        self._await_end(self._driver)
        return self._driver

    def _await(self, driver: subprocess.Popen[bytes], fault: Fault, since: int) -> bool:
        """Wait for a fault's moment; False: the driver ended by itself before."""
        limit = time.monotonic() + PATIENCE_S
        while self._lines(driver) < since + fault.lines and time.monotonic() < limit:
            if driver.poll() is not None:
                return False
            time.sleep(0.05)
        until = time.monotonic() + fault.pause_s
        while time.monotonic() < until and driver.poll() is None:
            time.sleep(0.05)
        return driver.poll() is None

    def _commit(self, fault: Fault) -> None:
        assert self._driver is not None
        acts = {
            "worker": self._kill_worker,
            "node": self._kill_node,
            "driver": lambda: self._kill(self._driver_pid),
            "torn": self._tear,
            "interrupt": self._interrupt,
            "second": self._start_second,
            "take-over": self._take_over,
        }
        done = acts[fault.kind]()
        self._done[fault.kind] += done
        self._say(f"{fault.kind:<9} {'' if done else '(nothing to do) '}{len(self._seen)} results so far")

    def _kill_worker(self) -> bool:
        pids = self._cluster.workers() if self._cluster else children_like(self._driver_pid, b"spawn_main")
        return bool(pids) and self._may_hit() and self._kill(self._moments.choice(pids))

    def _kill_node(self) -> bool:
        if self._cluster is None or not self._may_hit():
            return False
        self._cluster.replace_node(self._moments)
        return True

    def _may_hit(self) -> bool:
        running = look(self._study).running
        if any(self._hits[key] >= MOST_HITS for key in running):
            return False
        self._hits.update(running)
        return True

    def _tear(self) -> bool:
        self._kill(self._driver_pid)
        assert self._driver is not None
        self._driver.wait()
        journal = self._files / JOURNAL
        lines = journal.read_bytes().splitlines() if journal.exists() else []
        if not lines:
            return False
        with journal.open("ab") as file:
            file.write(lines[-1][: len(lines[-1]) // 2])
        return True

    def _interrupt(self) -> bool:
        assert self._driver is not None
        self._driver.send_signal(signal.SIGINT)
        self._await_end(self._driver)
        if self._driver.returncode not in (0, 130, -signal.SIGINT):
            self._blame(self._driver, f"exit code {self._driver.returncode} after Ctrl-C")
        return True

    def _start_second(self) -> bool:
        """Start another driver, which has to give up."""
        first, second = self._driver, self._spawn(self._command())
        self._await_end(second)
        if second.returncode == 2 and b"is being driven by process" in self._logs[second.pid].read_bytes():
            return True
        assert first is not None
        if first.poll() is None:  # else the first was over, and the second found that, or had nothing to wait for
            self._blame(second, f"exit code {second.returncode} of a second driver")
        return False

    def _take_over(self) -> bool:
        first = self._driver
        self._driver = self._start("--take-over")
        assert first is not None
        self._await_end(first)
        if first.returncode not in (0, 2):
            self._blame(first, f"exit code {first.returncode} of a driver that was taken over from")
        return True

    def _kill(self, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if self._driver is not None and pid == self._driver.pid:
            self._driver.wait()
        return True

    # Drivers

    @property
    def _driver_pid(self) -> int:
        assert self._driver is not None
        return self._driver.pid

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "nas", "search", str(self._experiment), "--device", "cpu"]
        command += ["--study", self._study]
        if self._storage != "folder":
            command += ["--folder", str(self._files)]
        if self._cluster is not None:
            command += ["--executor", "ray", "--address", self._cluster.address]
        return command

    def _start(self, *more: str) -> subprocess.Popen[bytes]:
        self._started = time.time()
        return self._spawn([*self._command(), *more])

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        log = self._folder / f"driver-{len(self._logs)}.log"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, TAG: self._tag}
        with log.open("wb") as file:
            driver = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=ROOT)
        self._logs[driver.pid] = log
        self._drivers.append(driver)
        return driver

    def _lines(self, driver: subprocess.Popen[bytes]) -> int:
        return self._logs[driver.pid].read_bytes().count(b"\n")

    def _tail(self, driver: subprocess.Popen[bytes]) -> str:
        return self._logs[driver.pid].read_text(errors="replace")[-3000:]

    def _await_end(self, driver: subprocess.Popen[bytes]) -> None:
        """Wait for a driver's end, as long as it goes on."""
        lines, moved = -1, time.monotonic()
        while driver.poll() is None:
            if (now := self._lines(driver)) != lines:
                lines, moved = now, time.monotonic()
            if time.monotonic() - moved > PATIENCE_S:
                self._blame(driver, f"nothing happened for {PATIENCE_S:.0f} s")
                driver.kill()
                driver.wait()
            time.sleep(0.1)

    def _blame(self, driver: subprocess.Popen[bytes], what: str) -> None:
        self._exits.append(what)
        self._messages.append(f"{what}: {self._tail(driver)}")
        self._say(f"{what}\n{self._tail(driver)}")

    # Looking on

    def _look(self) -> None:
        """Note what is there; a result that has changed since stays in `_seen` as it was, and is found at the end."""
        self._looks += 1
        self._processes |= descendants(os.getpid())
        for key, result in look(self._study).results.items():
            self._seen.setdefault(key, result)

    def _end(self) -> list[str]:
        """End all that runs, and return what did not end by itself although it should have."""
        self._processes |= descendants(os.getpid())
        for driver in self._drivers:
            if driver.poll() is None:
                driver.kill()
            driver.wait()
        if self._cluster is not None:
            self._cluster.close()
        limit = time.monotonic() + 30
        while (left := self._left()) and time.monotonic() < limit:
            time.sleep(0.2)
        words = [command_line(process.pid).replace(b"\0", b" ").decode(errors="replace")[:80] for process in left]
        for process in left:
            self._kill(process.pid)
        return words

    def _left(self) -> set[Process]:
        ours = alive(self._processes) | tagged(self._tag)
        return {process for process in ours if process.pid != os.getpid()}
