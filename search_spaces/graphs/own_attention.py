"""The attention that a host already has: squeeze-and-excitation and the like, found in its graph.

It is what computes x * f(x) from a feature map x, where f has weights (hard-swish, x * relu6(x + 3) / 6, has none),
or what one of timm's attention layers computes that adds. Layers that follow each other at once (CBAM's channel and
spatial attention) are one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import fx, nn

from search_spaces.graphs.maps import PRODUCTS, operands
from search_spaces.graphs.tracing import HostGraph

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)

_LAYERS = {"GlobalContext", "NonLocalAttn", "BatNonLocalAttn"}
"""Classes of timm that (may) add what they compute, which no other addition can be told from."""


@dataclass(frozen=True)
class OwnAttention:
    """An attention of the host's own, from the map that it reads to the map that it answers, which have one shape."""

    input: fx.Node
    output: fx.Node


def region(host: HostGraph, start: fx.Node, end: fx.Node) -> list[fx.Node]:
    """Return the nodes that compute `end` from `start`, without `start`, in graph order."""
    inside = host.ancestors[end] & ~host.ancestors[start]
    return [node for i, node in enumerate(host.graph.nodes) if inside >> i & 1]


def find_own(host: HostGraph, maps: frozenset[fx.Node]) -> list[OwnAttention]:
    """Return the attention that can be taken out of the host, in graph order."""
    layers = list(_attention_layers(host, maps))
    inside = {node for layer in layers for node in region(host, layer.input, layer.output)}
    found = layers + [
        OwnAttention(x, node)
        for node in host.graph.nodes
        if node in maps and node not in inside and (x := _weighed(host, node)) in maps
    ]
    whole = [own for own in found if _can_be_taken_out(host, own)]
    return _joined(host, sorted(whole, key=lambda own: host.position(own.output)))


def find_weighing(host: HostGraph) -> int:
    """Return as bits the nodes that only weigh what others compute: f(x) of every x * f(x), whatever its shape."""
    bits = 0
    for node in host.graph.nodes:
        if x := _weighed(host, node):
            bits |= host.ancestors[node] & ~host.ancestors[x]
    return bits


def _weighed(host: HostGraph, node: fx.Node) -> fx.Node | None:
    """Return x if a node is x * f(x) with weights in f, also in steps: x * f(x) * g(x) (coordinate attention)."""
    both = operands(node, PRODUCTS)
    for x, weights in (both, both[::-1]) if both else ():
        while x is not None and not host.depends_on(weights, x):
            # What is weighed already, by something that depends on the same x.
            inner = operands(x, PRODUCTS)
            x = next((each for each in inner or () if host.depends_on(weights, each)), None)  # type: ignore[assignment]
        if x is not None and host.shapes.get(x) == host.shapes.get(node) and _has_weights(host, x, weights):
            return x
    return None


def _has_weights(host: HostGraph, start: fx.Node, end: fx.Node) -> bool:
    return any(
        isinstance(layer, _WEIGHTED)
        for node in region(host, start, end)
        if (module := host.module(node))
        for layer in module.modules()
    )


def _attention_layers(host: HostGraph, maps: frozenset[fx.Node]) -> Iterator[OwnAttention]:
    """Yield what the instances of known classes compute that read one map and answer another of its shape."""
    for nodes in _nodes_of_layers(host).values():
        inside = set(nodes)
        read = {parent for node in nodes for parent in node.all_input_nodes if parent not in inside}
        answers = [node for node in nodes if any(user not in inside for user in node.users)]
        given = [node for node in read if node.op != "get_attr"]
        if len(given) == len(answers) == 1 and given[0] in maps and host.shapes[given[0]] == host.shapes[answers[0]]:
            yield OwnAttention(given[0], answers[0])


def _nodes_of_layers(host: HostGraph) -> dict[str, list[fx.Node]]:
    result: dict[str, list[fx.Node]] = {}
    for node in host.graph.nodes:
        paths = list(host.owners(node))
        if node.op == "call_module" and str(node.target).startswith(host.prefix):
            paths.append(str(node.target).removeprefix(host.prefix))
        layer = next((path for path in paths if type(host.submodule(path)).__name__ in _LAYERS), None)
        if layer:
            result.setdefault(layer, []).append(node)
    return result


def _can_be_taken_out(host: HostGraph, own: OwnAttention) -> bool:
    """Return whether nothing else reads what it computes inside, it reads its map alone, and shares no module."""
    nodes = region(host, own.input, own.output)
    inside = set(nodes)
    read = {parent for node in nodes for parent in node.all_input_nodes} - inside - {own.input}
    kept = any(user not in inside for node in nodes if node is not own.output for user in node.users)
    if read or kept or any(node.op == "placeholder" for node in nodes):
        return False
    targets = {node.target for node in nodes if node.op in ("call_module", "get_attr")}
    return not any(node.target in targets for node in host.graph.nodes if node not in inside)


def _joined(host: HostGraph, found: list[OwnAttention]) -> list[OwnAttention]:
    """Return one attention in the place of those that follow each other at once, without those within another."""
    regions = {own: set(region(host, own.input, own.output)) for own in found}
    result: list[OwnAttention] = []
    for own in found:
        if any(own.output in regions[other] for other in found if other is not own):
            continue
        before = next((each for each in result if each.output is own.input), None)
        if before and regions[own].issuperset(own.input.users):
            result[result.index(before)] = replace(before, output=own.output)
        else:
            result.append(own)
    return result
