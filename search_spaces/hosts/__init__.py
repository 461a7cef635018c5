"""Hosts: the CNNs that attention is placed into."""

from search_spaces.hosts.config import HostConfig
from search_spaces.hosts.registry import HostEntry, build_host, build_host_on_meta, host_entry, host_names

__all__ = ["HostConfig", "HostEntry", "build_host", "build_host_on_meta", "host_entry", "host_names"]
