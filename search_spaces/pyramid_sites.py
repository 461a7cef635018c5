"""The sites of a feature pyramid."""

from search_spaces.site_type import Site
from search_spaces.tracing import HostGraph


def pyramid_sites(graph: HostGraph) -> list[Site]:
    """Return the pyramid's sites in the order in which their tensors are computed."""
    raise NotImplementedError
