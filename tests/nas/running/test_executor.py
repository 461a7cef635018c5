"""The executor: dying workers, failing trials, several devices."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_search import Toy

from nas.running.execution import MOST_ATTEMPTS, MOST_FAILURES, MOST_LOSSES, Execution, Rules
from nas.running.local_executor import LocalExecutor
from nas.running.local_pool import Crashed, Done, Event
from nas.running.progress import Watcher
from nas.study.ledger import Ledger
from search_spaces.errors import InputError
from trials import DataConfig, TrainConfig, TrialConfig

CONFIG = TrialConfig(
    data=DataConfig(source="digits", validation=10), train=TrainConfig(epochs=1, batch_size=2, lr=0.1, warmup=0)
)


class Script:
    """A pool that answers each task with what a script says; nothing is computed."""

    def __init__(self, toy: Toy, answers: list[str], size: int = 1) -> None:
        self.toy, self.answers, self.size = toy, answers, size
        self.devices: list[str] = []
        self.pending: list[tuple[int, object]] = []
        self.killed = False

    @property
    def num_idle(self) -> int:
        return self.size - len(self.pending)

    def submit(self, key: int, task: object) -> None:
        self.devices.append(task.config["device"])  # type: ignore[attr-defined]
        self.pending.append((key, task))

    def wait(self, timeout: float) -> list[Event]:
        assert timeout > 0
        key, _ = self.pending.pop(0)
        answer = self.answers.pop(0)
        if answer == "dies":
            return [Crashed(key, "killed by SIGKILL")]
        if answer == "raises":
            return [Crashed(key, "Traceback (most recent call last):\n  ...\nOSError: a lost file")]
        proposal = next(p for p in self.ledger.unfinished() if p.number == key)
        record = self.toy.record(proposal, failed=answer != "ok")
        failure = {"ok": None, "fails": "diverged", "crashes": "crash"}[answer]
        return [Done(key, replace(record, failure=failure).to_dict())]

    def kill(self) -> None:
        self.killed = True

    def run(self, ledger: Ledger, folder: Path, devices: tuple[str, ...] = ("cpu",)) -> None:
        self.ledger = ledger
        execution = Execution(ledger, ledger.take, folder, CONFIG, Rules(), Watcher.quiet(), in_order=False)
        LocalExecutor(self, devices).run(execution)  # type: ignore[arg-type]


def queue(toy: Toy, folder: Path, count: int) -> Ledger:
    """Return a ledger in which the first architectures of the space wait."""
    from nas.study.journal import open_storage

    ledger = Ledger.open(open_storage(folder), "search", ["accuracy", "macs"])
    for i in range(count):
        indices = [0] * len(toy.space.decisions)
        indices[0], indices[1] = i % 5, i // 5
        ledger.add(toy.space.decode(indices), label=f"number {i}", seed=0, epochs=1)
    return ledger


def test_a_trial_whose_worker_dies_is_started_again(toy: Toy, tmp_path: Path) -> None:
    ledger = queue(toy, tmp_path, 1)
    Script(toy, ["dies"] * (MOST_ATTEMPTS - 1) + ["ok"]).run(ledger, tmp_path)
    assert ledger.counts("baseline").complete == 1


def test_a_trial_whose_workers_always_die_fails_with_the_reason(toy: Toy, tmp_path: Path) -> None:
    ledger = queue(toy, tmp_path, 1)
    Script(toy, ["dies"] * MOST_ATTEMPTS).run(ledger, tmp_path)
    assert ledger.counts("baseline").failed == 1
    assert "died 3 times: killed by SIGKILL" in ledger.trials()[0].user_attrs["reason"]


def test_a_search_whose_trials_mostly_fail_stops_and_says_why(toy: Toy, tmp_path: Path) -> None:
    ledger = queue(toy, tmp_path, 10)
    pool = Script(toy, ["ok", "ok", *["fails"] * (MOST_FAILURES + 1)])
    with pytest.raises(InputError, match=r"stopped: 6 trials failed and 2 succeeded.*the loss is not finite"):
        pool.run(ledger, tmp_path)
    assert pool.killed
    assert ledger.counts("baseline").running == 0


def test_trials_are_spread_evenly_over_the_devices(toy: Toy, tmp_path: Path) -> None:
    ledger = queue(toy, tmp_path, 8)
    pool = Script(toy, ["ok"] * 8, size=4)
    pool.run(ledger, tmp_path, devices=("cuda:0", "cuda:1"))
    assert pool.devices.count("cuda:0") == pool.devices.count("cuda:1") == 4


@pytest.mark.parametrize(
    ("answer", "attempts", "reason"),
    [
        ("fails", 1, "the loss is not finite"),
        ("crashes", MOST_ATTEMPTS, "the loss is not finite"),
        ("raises", MOST_ATTEMPTS, f"failed {MOST_ATTEMPTS} times: OSError: a lost file"),
    ],
)
def test_only_what_a_retry_may_mend_is_tried_again(
    toy: Toy, tmp_path: Path, answer: str, attempts: int, reason: str
) -> None:
    ledger = queue(toy, tmp_path, 1)
    pool = Script(toy, [answer] * MOST_ATTEMPTS)
    pool.run(ledger, tmp_path)
    assert len(pool.devices) == attempts
    assert ledger.counts("baseline").failed == 1
    assert ledger.trials()[0].user_attrs["reason"] == reason


def test_a_lost_machine_is_not_the_trial_s_fault_unless_it_is_a_habit(toy: Toy, tmp_path: Path) -> None:
    ledger = queue(toy, tmp_path, 1)
    execution = Execution(ledger, ledger.take, tmp_path, CONFIG, Rules(), Watcher.quiet(), in_order=False)
    for _ in range(MOST_LOSSES + MOST_ATTEMPTS - 1):
        task = execution.next("cpu")
        assert task is not None
        execution.crashed(task[0], "its node has died", is_lost=True)
    assert execution.next("cpu") is not None
    execution.crashed(0, "its node has died", is_lost=True)
    assert execution.next("cpu") is None
    assert execution.is_over
    assert ledger.counts("baseline").failed == 1
