"""Searches on Ray: on this machine, on simulated nodes, and what becomes of them when something dies."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.execution import MOST_ATTEMPTS, Execution, Rules
from nas.experiment import Resources
from nas.ledger_trial import Proposal
from nas.progress import Watcher
from nas.ray_cluster import RaySettings, make_executor
from nas.study import Ledger
from reports import StudyView
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


@pytest.fixture(scope="module")
def deterministic(experiments: Path) -> Path:
    """The experiment of `finished`, as reproducible on a cluster as in the local pool."""
    path = experiments / "deterministic.yaml"
    text = (experiments / "nsga2.yaml").read_text()
    path.write_text(text.replace("search: {sampler", "search: {deterministic: true, sampler"))
    return path


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


def found(view: StudyView) -> list[tuple[object, ...]]:
    """Return what was measured, to the bit; confirmations may come in any order."""
    search = [(t.number, t.label, t.architecture.hash, t.record and t.record.loss) for t in view.search]
    confirm = [(t.architecture.hash, t.record and (t.record.seed, t.record.test_loss)) for t in view.confirm]
    return [*search, *sorted(confirm, key=str)]


def check_whole(view: StudyView) -> None:
    """Check that nothing is lost, nothing was run twice, and the budget is met exactly."""
    for trials in (view.search, view.confirm):
        assert all(trial.state == "complete" for trial in trials)
        keys = [(t.architecture.hash, t.record.seed, t.record.epochs) for t in trials if t.record]
        assert len(keys) == len(set(keys)) == len(trials)
    assert sum(trial.role == "proposal" for trial in view.search) == 10


def trial_processes() -> list[int]:
    """Return the processes of Ray's actors that run trials."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::ImplicitFunc"):
                pids.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return pids


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


def test_a_driver_that_is_killed_on_ray_loses_nothing(
    deterministic: Path, finished: nas.Outcome, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    command = [sys.executable, "-m", "nas", "search", str(deterministic), "--device", "cpu", "--executor", "ray"]
    kept: set[tuple[object, ...]] = set()
    for lines in (3, 5):
        driver = subprocess.Popen([*command, "--study", str(study)], stdout=subprocess.PIPE, start_new_session=True)
        assert driver.stdout
        for _ in range(lines):
            driver.stdout.readline()
        driver.kill()
        driver.wait()
        driver.stdout.close()
        now = {each for each in found(nas.open_study(study)) if each[-1] is not None}
        assert kept <= now, "a finished trial was lost"
        kept = now
    # And from one executor to the other.
    resumed = nas.search(str(deterministic), study, device="cpu", watcher=Watcher.quiet())
    assert found(resumed.view) == found(finished.view)
    check_whole(resumed.view)


NODES = """
import sys
from pathlib import Path

import nas
from nas.progress import Watcher
from nas.ray_cluster import RaySettings
from nas.ray_cluster.environment import prepare

prepare()
import ray
from ray.cluster_utils import Cluster


class Saboteur(Watcher):
    epochs = 0

    def progressed(self, proposal, epoch):
        super().progressed(proposal, epoch)
        Saboteur.epochs += 1
        if Saboteur.epochs == 4:
            cluster.remove_node(nodes[0], allow_graceful=False)
            cluster.add_node(num_cpus=1)
            print("one node removed, another added", flush=True)


if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    cluster.wait_for_nodes()
    settings = RaySettings(address=cluster.address)
    nas.search(sys.argv[1], Path(sys.argv[2]), device="cpu", ray=settings, watcher=Saboteur(None))
"""


@pytest.mark.slow
def test_a_node_that_dies_and_another_that_comes_change_nothing(
    deterministic: Path, finished: nas.Outcome, tmp_path: Path
) -> None:
    (tmp_path / "nodes.py").write_text(NODES)
    command = [sys.executable, str(tmp_path / "nodes.py"), str(deterministic), str(tmp_path / "study")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path]).strip(os.pathsep)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "one node removed, another added" in ran.stdout
    view = nas.open_study(tmp_path / "study")
    assert found(view) == found(finished.view)
    check_whole(view)


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

    watcher = Killer(None)
    longer = CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"epochs": 40})})
    ledger.add(ledger.architecture(ledger.trials()[0]), label="long", seed=1, epochs=40)
    execution = Execution(ledger, ledger.take, tmp_path, longer, Rules(), watcher, in_order=False)
    with make_executor(HERE, Resources(), 1, "cpu") as executor:
        executor.run(execution)
    trial = next(t for t in ledger.trials() if t.user_attrs["label"] == "long")
    assert trial.user_attrs["reason"].startswith(f"the worker died {MOST_ATTEMPTS} times")


@pytest.mark.usefixtures("cluster")
def test_what_ends_a_search_is_raised_and_leaves_nothing_running(ledger: Ledger, tmp_path: Path) -> None:
    def refuse() -> Proposal | None:
        raise InputError("no more of this")

    execution = Execution(ledger, refuse, tmp_path, CONFIG, Rules(), Watcher.quiet(), in_order=False)
    with make_executor(HERE, Resources(), 1, "cpu") as executor, pytest.raises(InputError, match="no more of this"):
        executor.run(execution)
    assert ledger.counts("baseline").running == 0


def test_a_cluster_that_is_not_there_is_said_at_once(experiments: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:9: Connection refused"):
        nas.search(
            str(experiments / "nsga2.yaml"),
            tmp_path / "study",
            device="cpu",
            ray=RaySettings("127.0.0.1:9"),
            watcher=Watcher.quiet(),
        )
    assert time.monotonic() - begin < 30


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
