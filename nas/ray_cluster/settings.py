"""What a user says about the cluster."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from search_spaces.errors import InputError

CONNECT_S = 10.0
"""How long a cluster may take to answer at all."""

TOKEN = ".nas-token"
"""The file in a study's folder by which a node knows that it sees the same."""


@dataclass(frozen=True)
class RaySettings:
    """Which cluster, and what its nodes need.

    address: None or `local` starts Ray on this machine; `auto` joins the cluster that this machine is a node of; an
        address (`host:6379`) or `ray://host:10001` another.
    runtime_env: passed on to Ray: packages, files and environment variables of the nodes.
    callbacks: Ray Tune's, such as `ray.air.integrations.mlflow.MLflowLoggerCallback`.
    """

    address: str | None = None
    runtime_env: dict[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Any] = ()

    @property
    def is_local(self) -> bool:
        """Whether Ray is started here, and ended with the search."""
        return self.address in (None, "local")

    def check_reachable(self) -> None:
        """Try to connect: Ray itself tries for minutes, and then ends the process. `auto` is left to Ray.

        Raises:
            InputError: nothing answers there, or it is no address.
        """
        if self.address in (None, "local", "auto"):
            return
        parts = urlsplit(self.address if "://" in self.address else f"//{self.address}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number
            host = port = None
        if host is None or port is None:
            raise InputError(
                f"{self.address!r} is no address of a Ray cluster; give auto, HOST:PORT or ray://HOST:PORT"
            )
        try:
            socket.create_connection((host, port), timeout=CONNECT_S).close()
        except OSError as error:
            why = error.strerror or error
            raise InputError(
                f"no Ray cluster at {self.address}: {why}; `ray start --head` starts one, and says where"
            ) from error
