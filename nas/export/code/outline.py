"""Where a network's graph has its parts: the ends of its stages, its last feature map, its classifier."""

from dataclasses import dataclass

from torch import fx, nn

from search_spaces import HostConfig
from search_spaces.build import Layout
from search_spaces.errors import InputError
from search_spaces.networks import trace_host
from search_spaces.pyramids.levels import pyramid_ends, stride_of


@dataclass(frozen=True)
class Stage:
    """The end of a stage."""

    node: fx.Node
    channels: int
    stride: int
    """Pixels of the image between two of its positions."""


@dataclass(frozen=True)
class Outline:
    """The parts of a classification network."""

    stages: tuple[Stage, ...]
    """The finest first; those at one resolution count as one. Empty for a host with fewer than two."""
    features: fx.Node
    """What the head begins with."""
    classifier: fx.Node
    """The call of the last linear layer or convolution."""


def outline(network: fx.GraphModule, host: HostConfig, layout: Layout) -> Outline | None:
    """Return the parts of a network; None where what it answers does not come from one classifier."""
    by_name = {node.name: node for node in network.graph.nodes}
    classifier = _classifier(network, host.classes)
    if classifier is None or host.neck is not None:
        return None
    features = _features(classifier, network)
    return Outline(_stages(host, layout, by_name), features, classifier)


def _stages(host: HostConfig, layout: Layout, by_name: dict[str, fx.Node]) -> tuple[Stage, ...]:
    graph = trace_host(host)
    try:
        ends = pyramid_ends(graph, host)
    except InputError:
        return ()
    nodes = [(by_name[layout.standing[end.name]], end) for end in ends if end.name in layout.standing]
    return tuple(Stage(node, graph.shapes[end][0], stride_of(graph, end, host)) for node, end in nodes)


def _classifier(network: fx.GraphModule, classes: int) -> fx.Node | None:
    """Return the only last call of a layer of so many outputs, going back from the answer."""
    node = next(node for node in network.graph.nodes if node.op == "output")
    while len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
        if node.op == "call_module":
            layer = network.get_submodule(str(node.target))
            if isinstance(layer, nn.Linear):
                return node if layer.out_features == classes else None
            if isinstance(layer, nn.Conv2d):
                return node if layer.out_channels == classes else None
    return None


def _features(classifier: fx.Node, network: fx.GraphModule) -> fx.Node:
    """Return what is pooled before the classifier; where nothing is, what the classifier reads."""
    node = classifier
    while len(node.all_input_nodes) == 1 and node.all_input_nodes[0].op != "placeholder":
        node = node.all_input_nodes[0]
        if _pools(node, network):
            return node.all_input_nodes[0]
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), nn.Conv2d):
            break
    return classifier.all_input_nodes[0]


def _pools(node: fx.Node, network: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return "Pool" in type(network.get_submodule(str(node.target))).__name__
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return len(node.all_input_nodes) == 1 and ("pool" in name or name == "mean")
