"""The options that say on which cluster a search runs."""

from pathlib import Path
from typing import Any, Literal

from nas.ray_cluster import RaySettings
from search_spaces.errors import InputError
from search_spaces.yaml_files import read_yaml

ExecutorName = Literal["local", "ray"]


def ray_settings(executor: ExecutorName, address: str | None, runtime_env: Path | None) -> RaySettings | None:
    """Return what was asked of the cluster; None for the local pool.

    Raises:
        InputError: an option of the cluster without `--executor ray`, or a damaged file.
    """
    if executor == "local":
        given = {"--address": address, "--runtime-env": runtime_env}
        if wrong := next((name for name, value in given.items() if value is not None), None):
            raise InputError(f"{wrong} is for `--executor ray`")
        return None
    return RaySettings(address, _read(runtime_env) if runtime_env else {})


def _read(path: Path) -> dict[str, Any]:
    return dict(read_yaml(path).data)
