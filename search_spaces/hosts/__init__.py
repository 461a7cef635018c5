"""Hosts: the CNNs that attention is placed into."""

from search_spaces.hosts.config import DETECTORS, HostConfig
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.meta import on_meta
from search_spaces.hosts.registry import build_host, host_entry, host_names

__all__ = ["DETECTORS", "HostConfig", "HostEntry", "build_host", "host_entry", "host_names", "on_meta"]
