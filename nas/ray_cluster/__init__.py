"""Trials on a Ray cluster, by Ray Tune. Ray is imported when an executor is made, and not before."""

from typing import TYPE_CHECKING

from nas.ray_cluster.environment import prepare
from nas.ray_cluster.settings import RaySettings
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from nas.experiment import Resources
    from nas.ray_cluster.executor import RayExecutor

__all__ = ["RaySettings", "make_executor", "prepare"]


def make_executor(settings: RaySettings, resources: "Resources", workers: int | None, device: str) -> "RayExecutor":
    """Return a `RayExecutor`; its arguments are there.

    Raises:
        InputError: Ray is not installed.
    """
    prepare(settings.address)
    try:
        from nas.ray_cluster.executor import RayExecutor
    except ImportError as error:
        raise InputError(f"{error}; Ray comes with `pip install 'ray[tune,client]'`, our extra `cluster`") from error
    return RayExecutor(settings, resources, workers, device)
