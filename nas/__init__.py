"""The search: experiments, studies, and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.driver import Outcome, search
    from nas.experiment import Experiment, load_experiment
    from nas.ray_cluster import RaySettings
    from nas.view import open_study

__all__ = ["Experiment", "Outcome", "RaySettings", "load_experiment", "open_study", "search"]

_HOMES = {
    "Experiment": "nas.experiment",
    "Outcome": "nas.driver",
    "RaySettings": "nas.ray_cluster",
    "load_experiment": "nas.experiment",
    "open_study": "nas.view",
    "search": "nas.driver",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the pool and the journal start without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
