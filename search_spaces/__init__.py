"""What can be built: hosts, their sites, attention modules, architectures and spaces of them."""

from search_spaces.architecture import Architecture
from search_spaces.cost import Cost, measure_cost
from search_spaces.errors import InputError
from search_spaces.hosts import HostConfig
from search_spaces.plugins import load_plugins
from search_spaces.sites import find_sites
from search_spaces.sites.site_type import Site
from search_spaces.space import SearchSpace

__all__ = [
    "Architecture",
    "Cost",
    "HostConfig",
    "InputError",
    "SearchSpace",
    "Site",
    "find_sites",
    "load_plugins",
    "measure_cost",
]
