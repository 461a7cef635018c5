"""Trials on a Ray cluster, by Ray Tune, and full trainings, by Ray Train. Ray is imported when one begins."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from nas.ray_cluster.environment import prepare
from nas.ray_cluster.settings import RaySettings
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from nas.experiment import Resources
    from nas.ray_cluster.executor import RayExecutor
    from nas.ray_cluster.retraining import ClusterTraining

__all__ = ["RaySettings", "make_executor", "make_training", "prepare"]


_MISSING = "{}; Ray comes with `pip install 'ray[tune,client]'`, our extra `cluster`"


def make_executor(settings: RaySettings, resources: "Resources", workers: int | None, device: str) -> "RayExecutor":
    """Return a `RayExecutor`; its arguments are there.

    Raises:
        InputError: Ray is not installed.
    """
    prepare(settings.address)
    try:
        from nas.ray_cluster.executor import RayExecutor
    except ImportError as error:
        raise InputError(_MISSING.format(error)) from error
    return RayExecutor(settings, resources, workers, device)


def make_training(settings: RaySettings, processes: int, say: Callable[[str], None]) -> "ClusterTraining":
    """Return a `ClusterTraining`; its arguments are there.

    Raises:
        InputError: Ray is not installed.
    """
    prepare(settings.address)
    try:
        from nas.ray_cluster.retraining import ClusterTraining
    except ImportError as error:
        raise InputError(_MISSING.format(error)) from error
    return ClusterTraining(settings, processes, say)
