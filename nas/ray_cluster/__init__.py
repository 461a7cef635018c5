"""Trials on a Ray cluster, by Ray Tune; Ray is imported when the executor is made, and nowhere else."""

from nas.ray_cluster.settings import RaySettings

__all__ = ["RaySettings"]
