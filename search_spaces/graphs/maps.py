"""Which tensors of a host are feature maps with their channels first, (C, H, W) without the batch."""

import operator
from typing import Any

import torch
from torch import fx

from search_spaces.graphs.tracing import HostGraph, is_feature_map

_PERMUTATIONS = (torch.permute, "permute")
_CHANNELS_LAST, _CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

PRODUCTS: set[Any] = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
SUMS: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}


def find_maps(host: HostGraph) -> frozenset[fx.Node]:
    """Return the nodes that are feature maps with their channels first.

    ConvNeXt and others permute to (H, W, C) and back: what would be a map by its number of dimensions is none there.
    """
    channels_last: set[fx.Node] = set()
    maps = []
    for node in host.graph.nodes:
        if not is_feature_map(host.shapes.get(node)):
            continue
        if _is_channels_last(host, node, channels_last):
            channels_last.add(node)
        else:
            maps.append(node)
    return frozenset(maps)


def _is_channels_last(host: HostGraph, node: fx.Node, known: set[fx.Node]) -> bool:
    if host.is_conv(node):
        return False
    if node.target in _PERMUTATIONS:
        return _permutation(node) == _CHANNELS_LAST
    return any(parent in known for parent in node.all_input_nodes)


def _permutation(node: fx.Node) -> tuple[Any, ...]:
    given = node.args[1:] if len(node.args) > 1 else (node.kwargs.get("dims", ()),)
    dims = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given
    return tuple(dims)


def operands(node: fx.Node, functions: set[Any]) -> tuple[fx.Node, fx.Node] | None:
    """Return the two tensors that one of these functions takes; None for other nodes and for numbers."""
    if node.op not in ("call_function", "call_method") or node.target not in functions:
        return None
    if len(node.args) != 2 or node.kwargs:
        return None
    first, second = node.args
    return (first, second) if isinstance(first, fx.Node) and isinstance(second, fx.Node) else None
