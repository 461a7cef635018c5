"""A space: a host or several to choose from, choices over their sites, and limits."""

from search_spaces.space.host_space import Indices
from search_spaces.space.search_space import SearchSpace

__all__ = ["Indices", "SearchSpace"]
