"""Where branches of a host meet: residual additions, same-layer sums and concatenations."""

from dataclasses import dataclass

import torch
from torch import fx

from search_spaces.graphs.maps import SUMS, operands
from search_spaces.graphs.tracing import HostGraph

_CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)


@dataclass(frozen=True)
class Merge:
    """A residual addition."""

    node: fx.Node
    branch: fx.Node
    """The operand with more convolutions since the fork."""
    shortcut: fx.Node


@dataclass(frozen=True)
class Meeting:
    """A same-layer sum of two branches, or a concatenation."""

    node: fx.Node
    branch: fx.Node | None
    """Of a sum, the operand with more convolutions since the fork, or the first; None for a concatenation."""


def find_merges(host: HostGraph, maps: frozenset[fx.Node], hidden: int) -> tuple[list[Merge], list[Meeting]]:
    """Return the residual additions of a host, and its same-layer sums and concatenations, in graph order.

    Args:
        host: the traced host.
        maps: its feature maps; nothing else is added here.
        hidden: as bits, the nodes of the host's own attention, in which nothing is merged.
    """
    merges: list[Merge] = []
    meetings: list[Meeting] = []
    for i, node in enumerate(host.graph.nodes):
        if node not in maps or hidden >> i & 1:
            continue
        if _is_concatenation(node, maps):
            meetings.append(Meeting(node, None))
        elif found := _as_sum(host, node, maps, hidden):
            (merges if isinstance(found, Merge) else meetings).append(found)  # type: ignore[arg-type]
    return merges, meetings


def _as_sum(host: HostGraph, node: fx.Node, maps: frozenset[fx.Node], hidden: int) -> Merge | Meeting | None:
    """Return what a sum of two equal maps is, by their numbers of convolutions, one after the other, since the fork.

    Of a residual addition's operands one has at most half as many as the other: a shortcut has none or few. What is
    more alike are branches of one layer (1 and 1 in Inception-ResNet), or of several resolutions (HRNet).
    """
    both = operands(node, SUMS)
    if both is None or not maps.issuperset(both) or host.shapes[both[0]] != host.shapes[both[1]]:
        return None
    common = host.ancestors[both[0]] & host.ancestors[both[1]]
    first, second = (_depth(host, host.ancestors[operand] & ~common & ~hidden) for operand in both)
    if not common or first == second == 0:
        return None
    branch, other = both if first >= second else both[::-1]
    if 2 * min(first, second) <= max(first, second):
        return Merge(node, branch, other)
    return Meeting(node, branch)


def _depth(host: HostGraph, bits: int) -> int:
    """Return how many convolutions there are at most one after the other among nodes given as bits.

    Not how many in all: of three convolutions side by side that are added up, the third is not a shortcut.
    """
    depths: dict[fx.Node, int] = {}
    for i, node in enumerate(host.graph.nodes):
        if bits >> i & 1:
            before = max((depths.get(parent, 0) for parent in node.all_input_nodes), default=0)
            depths[node] = before + host.is_conv(node)
    return max(depths.values(), default=0)


def _is_concatenation(node: fx.Node, maps: frozenset[fx.Node]) -> bool:
    """Return whether a node puts the channels of two or more maps beside each other."""
    if node.op != "call_function" or node.target not in _CONCATENATIONS:
        return False
    given = node.args[0] if node.args else node.kwargs.get("tensors")
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
    if axis not in (1, -3) or not isinstance(given, list | tuple) or len(given) < 2:
        return False
    return all(isinstance(each, fx.Node) and each in maps for each in given)
