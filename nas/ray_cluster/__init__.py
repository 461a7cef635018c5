"""Trials on a Ray cluster, by Ray Tune. Ray is imported with `nas.ray_cluster.executor`, and only then."""

from nas.ray_cluster.environment import prepare
from nas.ray_cluster.settings import RaySettings

__all__ = ["RaySettings"]

prepare()
