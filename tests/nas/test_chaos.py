"""Real searches under kills, by the code of `benchmarks/chaos.py`: a few minutes of it in seconds."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from chaos_run import Chaos, Fault, Found


def check_all_hold(found: Found) -> None:
    """Check every invariant; the message shows those that do not hold, and what drivers said."""
    assert [invariant for invariant in found.invariants if not invariant.ok] == [], found.messages


def test_a_search_in_the_local_pool_outlives_kills_and_ends_as_if_there_had_been_none(tmp_path: Path) -> None:
    faults = [Fault("worker", 4, 0.3), Fault("torn", 2, 0.5), Fault("driver", 6, 0.1), Fault("worker", 3, 0.2)]
    found = Chaos(tmp_path, "local", "folder", trials=8, seed=0).run(faults, 300, compare=True)
    check_all_hold(found)
    assert {kind: count for kind, count in found.faults.items() if count} == {"worker": 2, "driver": 1, "torn": 1}
    assert found.starts == 3


@pytest.mark.slow
def test_a_search_on_ray_outlives_kills_of_workers_nodes_and_drivers(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    faults = [Fault("worker", 3, 0.3), Fault("node", 3, 0.3), Fault("driver", 2, 0.5)]
    found = Chaos(tmp_path, "ray", "sqlite", trials=8, seed=0).run(faults, 300, compare=False)
    check_all_hold(found)
    assert found.starts == 2
