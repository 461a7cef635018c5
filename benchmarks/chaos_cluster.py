"""A Ray cluster of several nodes on this machine, whose nodes come and go."""

import os
import random
import shutil
import tempfile
from typing import Any

from chaos_processes import children_like

from nas.ray_cluster.environment import prepare


class Cluster:
    """A head without processors, and nodes with one each. `close` it.

    Args:
        num_nodes: beside the head.
        pid: of this process, whose descendants the nodes are.
    """

    def __init__(self, num_nodes: int, pid: int) -> None:
        prepare()
        # Ray notes the cluster's address there, over that of another one on this machine. Sockets want a short path.
        self._place, self._before = tempfile.mkdtemp(prefix="ray-"), os.environ.get("RAY_TMPDIR")
        os.environ["RAY_TMPDIR"] = self._place
        from ray.cluster_utils import Cluster as Simulated

        self._pid = pid
        memory = {"object_store_memory": 150 * 1024**2}
        self._memory = memory
        self._cluster: Any = Simulated(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory}
        )
        self._nodes: list[Any] = [self._cluster.add_node(num_cpus=1, **memory) for _ in range(num_nodes)]
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def workers(self) -> list[int]:
        """Return the processes that run trials, or wait for one."""
        return children_like(self._pid, b"ray::ImplicitFunc")

    def replace_node(self, moments: random.Random) -> None:
        """Take a node away as if its power had gone, and put a new one in its place."""
        node = self._nodes.pop(moments.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._cluster.add_node(num_cpus=1, **self._memory))

    def close(self) -> None:
        """End all nodes and remove Ray's own files of this cluster."""
        self._cluster.shutdown()
        shutil.rmtree(self._place, ignore_errors=True)
        if self._before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = self._before
