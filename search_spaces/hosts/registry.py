"""The hosts by name, and how each is built."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from search_spaces.errors import unknown
from search_spaces.hosts.cifar_resnet import CifarResNet
from search_spaces.hosts.imagenet import build_imagenet_host, imagenet_names

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig


@dataclass(frozen=True)
class HostEntry:
    """A host that can be named in a file."""

    name: str
    paper: str
    build: Callable[["HostConfig"], nn.Module]
    classes: int
    """The default number of classes."""
    input: int
    """The default height and width of the images in pixels."""
    stems: tuple[str, ...]
    """The stems it may have, the default first."""
    has_weights: bool
    """Pretrained weights are published for it."""


_CIFAR_DEPTHS = (20, 32, 56, 110)


@cache
def _entries() -> dict[str, HostEntry]:
    entries = [
        HostEntry(
            f"resnet{depth}",
            "He et al., 2015, arXiv:1512.03385, section 4.2",
            _build_cifar_resnet,
            10,
            32,
            ("cifar",),
            False,
        )
        for depth in _CIFAR_DEPTHS
    ]
    entries += [
        HostEntry(name, paper, build_imagenet_host, 1000, 224, ("imagenet", "cifar"), True)
        for name, paper in imagenet_names().items()
    ]
    return {entry.name: entry for entry in entries}


def _build_cifar_resnet(config: "HostConfig") -> nn.Module:
    depth = int(config.name.removeprefix("resnet"))
    return CifarResNet(depth, classes=config.classes, channels=config.channels)


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


def build_host_on_meta(config: "HostConfig") -> nn.Module:
    """Build the bare host without data (meta device), whatever its size, in the time of its constructor."""
    with _EmptyOnMeta():
        return build_host(config.model_copy(update={"pretrained": False})).to("meta")


class _EmptyOnMeta(TorchFunctionMode):
    """Allocates parameters on the meta device and nothing else.

    `torch.device("meta")` as a context would take everything: RegNet computes its widths with tensors.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
