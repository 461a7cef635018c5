"""The network that a host's configuration names, and its trace."""

from functools import lru_cache

import torch
from torch import nn

from search_spaces.errors import InputError
from search_spaces.hosts import HostConfig, build_host, on_meta
from search_spaces.pyramids import with_neck
from search_spaces.tracing import HostGraph, trace


def build_network(config: HostConfig) -> nn.Module:
    """Build the bare host, with neck and head if it has them, from torch's current generator and device."""
    host = build_host(config)
    return host if config.neck is None else with_neck(host, trace_host(config.bare), config)


def build_network_on_meta(config: HostConfig) -> nn.Module:
    """Build it without data (meta device), whatever its size, in the time of its constructors."""
    with on_meta():
        return build_network(config.model_copy(update={"pretrained": False})).to("meta")


@lru_cache(maxsize=64)
def trace_host(config: HostConfig) -> HostGraph:
    """Trace a host once on the meta device; the result is shared, so it must not be changed.

    Raises:
        InputError: the host cannot be traced, or cannot read images of this size.
    """
    root = build_network_on_meta(config).get_submodule(config.traced_part)
    image = torch.empty(1, config.channels, config.input, config.input, device="meta")
    try:
        return trace(root, image, config.prefix)
    except InputError as error:
        raise InputError(f"{config.name}: {error}") from error
