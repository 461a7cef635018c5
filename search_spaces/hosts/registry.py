"""The hosts by name, and how each is built.

torchvision is imported when one of its hosts, all names or an unknown name are asked for: it takes half as long as
torch itself, nearly all of it for torch's compiler, and most searches are on hosts for small images.
"""

from functools import cache
from typing import TYPE_CHECKING

from torch import nn

from search_spaces.errors import InputError, unknown
from search_spaces.hosts.aff_cifar import aff_cifar_hosts
from search_spaces.hosts.aff_imagenet import aff_imagenet_hosts
from search_spaces.hosts.cifar_mobilenet_v2 import cifar_mobilenets_v2
from search_spaces.hosts.cifar_resnet import cifar_resnets
from search_spaces.hosts.cifar_resnext import cifar_resnexts
from search_spaces.hosts.cifar_shufflenet_v2 import cifar_shufflenets_v2
from search_spaces.hosts.densenet_bc import densenets_bc
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.mobilenet_v1 import mobilenets_v1
from search_spaces.hosts.preact_resnet import preact_resnets
from search_spaces.hosts.timm_hosts import PREFIX, timm_entry
from search_spaces.hosts.wide_resnet import wide_resnets

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

_OWN_FAMILIES = (
    cifar_resnets,
    preact_resnets,
    wide_resnets,
    cifar_resnexts,
    densenets_bc,
    aff_cifar_hosts,
    cifar_mobilenets_v2,
    cifar_shufflenets_v2,
    mobilenets_v1,
    aff_imagenet_hosts,
)


@cache
def _own_entries() -> dict[str, HostEntry]:
    return {entry.name: entry for family in _OWN_FAMILIES for entry in family()}


@cache
def _torchvision_entries() -> dict[str, HostEntry]:
    from search_spaces.hosts.imagenet import imagenet_hosts

    return {entry.name: entry for entry in imagenet_hosts()}


@cache
def host_names() -> tuple[str, ...]:
    """Return the names of all hosts but timm's (see `timm_host_names`)."""
    return (*_own_entries(), *_torchvision_entries())


def host_entry(name: str) -> HostEntry:
    """Return the host called `name`.

    Raises:
        InputError: there is none (the message says the near names), it is a vision transformer, or timm's and timm is
            not installed.
    """
    if name.startswith(PREFIX):
        return timm_entry(name)
    entry = _own_entries().get(name) or _torchvision_entries().get(name)
    if entry is None:
        from search_spaces.hosts.imagenet import why_not_torchvision

        reason = why_not_torchvision(name)
        raise InputError(reason) if reason else unknown("host", name, host_names())
    return entry


def build_host(config: "HostConfig") -> nn.Module:
    """Build the bare host with freshly drawn (or pretrained) weights, from torch's current generator and device."""
    return host_entry(config.name).build(config)


def build_untrained(config: "HostConfig") -> nn.Module:
    """Build the bare host as `build_host` does, with freshly drawn weights in the place of pretrained ones."""
    host = build_host(config.model_copy(update={"pretrained": False}))
    adapt = host_entry(config.name).as_pretrained
    if config.pretrained and adapt:
        adapt(host)
    return host
