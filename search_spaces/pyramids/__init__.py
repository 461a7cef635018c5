"""Feature pyramids over any host, and what reads them."""

from torch import nn

from search_spaces.hosts import HostConfig
from search_spaces.tracing import HostGraph

__all__ = ["with_neck"]


def with_neck(host: nn.Module, graph: HostGraph, config: HostConfig) -> nn.Module:
    """Return the network of a host, a pyramid over the ends of its stages, and a head.

    Args:
        host: the bare host, whose classifier is left out.
        graph: its trace.
        config: what neck and head to build.
    """
    raise NotImplementedError
