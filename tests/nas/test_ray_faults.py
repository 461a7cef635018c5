"""Searches on Ray whose driver or nodes are killed; each has a cluster of its own."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from whole_search import check_whole, found

import nas
from nas.ray_cluster import RaySettings
from nas.running.progress import Watcher
from search_spaces.errors import InputError

pytest.importorskip("ray", reason="Ray is not installed")


def test_a_cluster_that_is_not_there_is_said(experiments: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:9: Connection refused"):
        nas.search(
            str(experiments / "nsga2.yaml"),
            tmp_path / "study",
            device="cpu",
            ray=RaySettings("127.0.0.1:9"),
            watcher=Watcher.quiet(),
        )
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("address", ["10.0.0.1", "host:port", "ray://host"])
def test_what_is_no_address_is_said_before_anything_is_written(address: str) -> None:
    with pytest.raises(InputError, match="is no address of a Ray cluster; give auto, HOST:PORT or ray://HOST:PORT"):
        RaySettings(address).check_reachable()


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
import nas.driver
from nas.running.execution import Execution
from nas.running.progress import Watcher
from nas.ray_cluster import RaySettings
from nas.ray_cluster.environment import prepare

prepare()
import ray
from ray.cluster_utils import Cluster


class Told(Execution):
    def crashed(self, key, reason, *, is_lost=False, seconds=0.0):
        print("lost with its node" if is_lost else f"crashed: {reason}", flush=True)
        super().crashed(key, reason, is_lost=is_lost, seconds=seconds)


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
    nas.driver.Execution = Told
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
    unconfirmed = tmp_path / "unconfirmed.yaml"
    unconfirmed.write_text(deterministic.read_text().replace("confirm: {top: 2", "confirm: {top: 0"))
    command = [sys.executable, str(tmp_path / "nodes.py"), str(unconfirmed), str(tmp_path / "study")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path]).strip(os.pathsep)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "one node removed, another added" in ran.stdout
    # Which trials the node took with it is chance, and may be none; none of them may count as failed.
    assert "crashed: " not in ran.stdout, ran.stdout
    view = nas.open_study(tmp_path / "study")
    assert found(view) == found(replace(finished.view, confirm=()))
    check_whole(view)
