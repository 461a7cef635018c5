"""What a user says about the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
