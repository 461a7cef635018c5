"""Sites: the named places in a host where attention may go."""

from search_spaces.sites.finding import find_sites, sites_of_graph
from search_spaces.sites.site_type import Site, Source

__all__ = ["Site", "Source", "find_sites", "sites_of_graph"]
