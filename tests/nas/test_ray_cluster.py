"""Searches on Ray: on this machine, on simulated nodes, and what becomes of them when something dies."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from whole_search import check_whole, found

import nas
from nas.experiment import Resources
from nas.ray_cluster import RaySettings, make_executor
from nas.running.execution import MOST_ATTEMPTS, Execution, Rules
from nas.running.progress import Watcher
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal
from search_spaces.errors import InputError
from trials import DataConfig, TrainConfig, TrialConfig

pytest.importorskip("ray", reason="Ray is not installed")

HERE = RaySettings()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, with room for two trials, for the tests that do not kill it."""
    executor = make_executor(HERE, Resources(), 2, "cpu")
    with executor:
        yield


class Meddler(Watcher):
    """A silent watcher that does something once, after so many epochs."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        super().__init__(None)
        self.left, self._act = after, act

    def progressed(self, proposal: Proposal, epoch: dict[str, Any]) -> None:
        super().progressed(proposal, epoch)
        self.left -= 1
        if self.left == 0:
            self._act()


def trial_processes() -> list[int]:
    """Return the processes of this test's Ray that run trials."""
    return [pid for pid in children_of(os.getpid()) if name_of(pid).startswith("ray::ImplicitFunc")]


def children_of(pid: int) -> list[int]:
    """Return a process's children, theirs, and so on."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:  # it has just ended
            continue
    return found + [each for child in found for each in children_of(child)]


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.usefixtures("cluster")
def test_a_search_on_ray_finds_to_the_bit_what_the_local_pool_finds(
    deterministic: Path, finished: nas.Outcome, tmp_path: Path
) -> None:
    outcome = nas.search(str(deterministic), tmp_path / "study", device="cpu", ray=HERE, watcher=Watcher.quiet())
    assert found(outcome.view) == found(finished.view)
    check_whole(outcome.view)
    assert outcome.report.is_file()
    assert not list((tmp_path / "study").glob(".nas-token*"))


@pytest.mark.usefixtures("cluster")
def test_on_a_cluster_a_search_does_not_wait_for_generations(experiments: Path, tmp_path: Path) -> None:
    workers = 0

    def kill() -> None:
        nonlocal workers
        pids = trial_processes()
        workers = len(pids)
        os.kill(random.Random(0).choice(pids), signal.SIGKILL)

    outcome = nas.search(
        str(experiments / "nsga2.yaml"), tmp_path / "study", device="cpu", ray=HERE, watcher=Meddler(6, kill)
    )
    assert workers >= 1
    check_whole(outcome.view)
    assert outcome.view.experiment["search"]["deterministic"] is False


CONFIG = TrialConfig(
    data=DataConfig(source="digits", validation=100, training=100),
    train=TrainConfig(epochs=2, batch_size=50, lr=0.1, warmup=0),
)


@pytest.fixture
def ledger(toy: Any, tmp_path: Path) -> Ledger:
    """A ledger in which one network waits."""
    made: Ledger = toy.open(tmp_path)
    made.add(toy.bare_host(), label="host", seed=0, epochs=2)
    return made


@pytest.mark.usefixtures("cluster")
def test_files_reach_the_study_from_nodes_that_do_not_see_its_folder(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.ray_cluster.exchange.secrets.token_hex", lambda _: secret)
    secret = "what the driver writes"
    monkeypatch.setattr("nas.ray_cluster.executor.Node", lambda *fields: replace(node(*fields), token="another"))
    from nas.ray_cluster.on_node import Node as node  # noqa: N813

    execution = Execution(ledger, ledger.take, tmp_path, CONFIG, Rules(), Watcher.quiet(), in_order=False)
    with make_executor(HERE, Resources(), 1, "cpu") as executor:
        executor.run(execution)
    assert ledger.counts("baseline").complete == 1
    (weights,) = (tmp_path / "weights").iterdir()
    assert weights.name.endswith("-seed0-epochs2.safetensors")
    from safetensors.torch import load_file

    architecture = ledger.architecture(ledger.trials()[0])
    architecture.build().load_state_dict(load_file(weights))


@pytest.mark.usefixtures("cluster")
def test_a_trial_whose_workers_always_die_fails_with_the_reason(ledger: Ledger, tmp_path: Path) -> None:
    def kill() -> None:
        for pid in trial_processes():
            os.kill(pid, signal.SIGKILL)

    class Killer(Watcher):
        def progressed(self, proposal: Proposal, epoch: dict[str, Any]) -> None:  # noqa: ARG002
            kill()

    execution = Execution(ledger, ledger.take, tmp_path, CONFIG, Rules(), Killer(None), in_order=False)
    with make_executor(HERE, Resources(), 1, "cpu") as executor:
        executor.run(execution)
    assert ledger.trials()[0].user_attrs["reason"].startswith(f"the worker died {MOST_ATTEMPTS} times: The actor died")


@pytest.mark.usefixtures("cluster")
def test_what_ends_a_search_is_raised_and_leaves_nothing_running(ledger: Ledger, tmp_path: Path) -> None:
    def refuse() -> Proposal | None:
        raise InputError("no more of this")

    execution = Execution(ledger, refuse, tmp_path, CONFIG, Rules(), Watcher.quiet(), in_order=False)
    with make_executor(HERE, Resources(), 1, "cpu") as executor, pytest.raises(InputError, match="no more of this"):
        executor.run(execution)
    assert ledger.counts("baseline").running == 0


def test_options_of_the_cluster_need_it(experiments: Path, run: Any) -> None:
    status, _, errors = run("search", experiments / "nsga2.yaml", "--address", "auto")
    assert status == 2
    assert "--address is for `--executor ray`" in errors


def test_a_driver_that_was_taken_over_from_leaves_the_mark_of_the_next(tmp_path: Path) -> None:
    from nas.ray_cluster.exchange import TOKEN, Outbox

    with Outbox(None, tmp_path).marked_folder() as old:
        following = Outbox(None, tmp_path).marked_folder()
        new = following.__enter__()
    assert old != new == (tmp_path / TOKEN).read_text()
    following.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []
