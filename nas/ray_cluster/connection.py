"""Joining a Ray cluster, or starting Ray on this machine."""

import logging
import os
import tempfile
from typing import Any

import ray
import ray.train._internal.storage as tune_storage  # not exported; see `start_ray`

from nas.experiment import Resources
from nas.ray_cluster.settings import RaySettings
from search_spaces.errors import InputError


def start_ray(settings: RaySettings, limit: int | None, resources: Resources) -> None:
    """Join the cluster of `settings`, or start Ray here with room for `limit` tasks. Raises InputError."""
    # Trials keep the folder that they were started in, in which relative paths mean what they meant.
    variables = {"RAY_CHDIR_TO_TRIAL_DIR": "0", **settings.runtime_env.get("env_vars", {})}
    options: dict[str, Any] = {
        "runtime_env": {**settings.runtime_env, "env_vars": variables},
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if settings.is_local:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        num_cpus = None if limit is None else max(1, round(limit * resources.cpu))
        options |= {"address": "local", "num_cpus": num_cpus, "include_dashboard": False}
    else:
        options["address"] = settings.address
    if (settings.address or "").startswith("ray://"):
        # Tune keeps its own files in the folder of this machine's node, and here is none.
        place = tempfile.mkdtemp(prefix="nas-tune-")
        tune_storage._get_ray_train_session_dir = lambda: place  # type: ignore[attr-defined]
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        where = "on this machine" if settings.is_local else f"at {settings.address}"
        raise InputError(f"no Ray cluster {where}: {error}") from error
