"""The hosts by name, and how each is built."""

from functools import cache
from typing import TYPE_CHECKING

from torch import nn

from search_spaces.errors import unknown
from search_spaces.hosts.cifar_resnet import cifar_resnets
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.imagenet import imagenet_hosts

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

_FAMILIES = (cifar_resnets, imagenet_hosts)


@cache
def _entries() -> dict[str, HostEntry]:
    return {entry.name: entry for family in _FAMILIES for entry in family()}


@cache
def host_names() -> tuple[str, ...]:
    """Return the names of all hosts."""
    return tuple(_entries())


def host_entry(name: str) -> HostEntry:
    """Return the host called `name`. Raises InputError with the near names if there is none."""
    if name not in _entries():
        raise unknown("host", name, host_names())
    return _entries()[name]


def build_host(config: "HostConfig") -> nn.Module:
    """Build the bare host with freshly drawn (or pretrained) weights, from torch's current generator and device."""
    return host_entry(config.name).build(config)
