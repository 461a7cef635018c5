"""The network that a host's configuration names, and its trace."""

from functools import lru_cache

import torch
from torch import nn

from search_spaces.errors import InputError
from search_spaces.graphs.host_tracer import add_dropouts
from search_spaces.graphs.tracing import HostGraph, trace
from search_spaces.hosts import HostConfig, build_host, build_untrained, host_entry, on_meta, to_meta


def build_network(config: HostConfig) -> nn.Module:
    """Build the bare host, with neck and head if it has them, from torch's current generator and device."""
    return _complete(build_host(config), config)


def build_network_on_meta(config: HostConfig) -> nn.Module:
    """Build it without data (meta device), whatever its size, in the time of its constructors."""
    with on_meta():
        return to_meta(_complete(build_untrained(config), config))


def _complete(host: nn.Module, config: HostConfig) -> nn.Module:
    graph = trace_host(config.bare)
    add_dropouts(host, graph.graph)
    if config.neck is None:
        return host
    from search_spaces.pyramids.assembly import with_neck  # and with it torchvision, slow to import

    return with_neck(host, graph, config)


def trace_host(config: HostConfig) -> HostGraph:
    """Trace a host once on the meta device; the result is shared, so it must not be changed.

    Raises:
        InputError: the host cannot be traced, or cannot read images of this size.
    """
    pretrained = config.pretrained and (config.neck is not None or host_entry(config.name).as_pretrained is not None)
    same = config if pretrained == config.pretrained else config.model_copy(update={"pretrained": pretrained})
    return _trace(same)


@lru_cache(maxsize=64)
def _trace(config: HostConfig) -> HostGraph:
    return trace_anew(config)


def trace_anew(config: HostConfig) -> HostGraph:
    """Trace a host as `trace_host` does, with nothing kept from an earlier call."""
    if config.neck is None:
        with on_meta():
            network = to_meta(build_untrained(config))
    else:
        network = build_network_on_meta(config)
    image = torch.empty(1, config.channels, config.input, config.input, device="meta")
    try:
        return trace(network.get_submodule(config.traced_part), image, config.prefix)
    except InputError as error:
        raise InputError(f"{config.name}: {error}") from error
