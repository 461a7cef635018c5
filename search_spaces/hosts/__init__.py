"""Hosts: the CNNs that attention is placed into."""

from search_spaces.hosts.config import DETECTORS, SHORTHANDS, HostConfig
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.meta import on_meta, to_meta
from search_spaces.hosts.registry import build_host, build_untrained, host_entry, host_names
from search_spaces.hosts.timm_hosts import timm_host_names

__all__ = [
    "DETECTORS",
    "SHORTHANDS",
    "HostConfig",
    "HostEntry",
    "build_host",
    "build_untrained",
    "host_entry",
    "host_names",
    "on_meta",
    "timm_host_names",
    "to_meta",
]
