"""A host as a graph: one symbolic trace and the shape of every tensor in it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from search_spaces.errors import InputError

Shape = tuple[int, ...]

_NORMS_AND_ACTIVATIONS = (
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.normalization",
    "torch.nn.modules.activation",
)
_ACTIVATION_FUNCTIONS = {
    "relu",
    "relu_",
    "relu6",
    "silu",
    "gelu",
    "hardswish",
    "leaky_relu",
    "elu",
    "sigmoid",
    "tanh",
}


class HostTracer(fx.Tracer):
    """Traces what a host computes; what differs between training and evaluation stays a module.

    A trace in eval mode through stochastic depth would bake `training=False` in, and the layer would vanish.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, StochasticDepth) or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True, eq=False)
class HostGraph:
    """The traced host on the meta device: its graph, and facts about each node.

    Every `nodes` argument and result is a node of `graph`.
    """

    root: nn.Module
    """The module that was traced, on the meta device (shapes only, no data)."""
    graph: fx.Graph
    shapes: dict[fx.Node, Shape]
    """Shape without the batch dimension of each node that is a tensor."""
    ancestors: dict[fx.Node, int]
    """The nodes that each node depends on, itself included, as a set of bits in graph order."""
    prefix: str = ""
    """What the paths of the host's own modules begin with (see `HostConfig.prefix`)."""

    def node(self, name: str) -> fx.Node:
        """Return the node called `name`."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, fx.Node]:
        return {node.name: node for node in self.graph.nodes}

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that the node calls, or None."""
        return self.root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def is_conv(self, node: fx.Node) -> bool:
        return isinstance(self.module(node), nn.Conv2d)

    def is_norm_or_activation(self, node: fx.Node) -> bool:
        module = self.module(node)
        if module is not None:
            return type(module).__module__ in _NORMS_AND_ACTIVATIONS
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return node.op in ("call_function", "call_method") and name in _ACTIVATION_FUNCTIONS

    def depends_on(self, node: fx.Node, other: fx.Node) -> bool:
        """Return whether `node` is computed from `other` (or is it)."""
        return bool(self.ancestors[node] & (self.ancestors[other] & ~_inputs_bits(self, other)))

    def num_convs(self, bits: int) -> int:
        """Count the convolutions in a set of nodes given as bits."""
        return (bits & self._conv_bits).bit_count()

    @cached_property
    def _conv_bits(self) -> int:
        return sum(1 << i for i, node in enumerate(self.graph.nodes) if self.is_conv(node))

    def owners(self, node: fx.Node) -> Iterator[str]:
        """Yield the paths in the host of its modules in whose forward the node stands, the outermost first."""
        stack: dict[str, Any] = node.meta.get("nn_module_stack", {})
        for path, _ in stack.values():
            in_host = path.startswith(self.prefix) and len(path) > len(self.prefix)
            if in_host and not (node.op == "call_module" and path == node.target):
                yield path.removeprefix(self.prefix)

    def submodule(self, path: str) -> nn.Module:
        """Return the host's module of a path that `owners` gave."""
        return self.root.get_submodule(self.prefix + path)


def _inputs_bits(host: HostGraph, node: fx.Node) -> int:
    """Return the bits of everything that `node` depends on without itself."""
    bits = 0
    for parent in node.all_input_nodes:
        bits |= host.ancestors[parent]
    return bits


def trace(root: nn.Module, image: Tensor, prefix: str = "") -> HostGraph:
    """Trace a module that reads images of this shape; both are on the meta device.

    Raises:
        InputError: the module cannot read such images.
    """
    graph = HostTracer().trace(root.eval())
    recorder = _ShapeRecorder(fx.GraphModule(root, graph))
    try:
        recorder.run(image)
    except RuntimeError as error:
        height, width = image.shape[2:]
        raise InputError(f"it cannot read {height}x{width} images: {error}") from error
    shapes = {node: recorder.shapes[node.name] for node in graph.nodes if node.name in recorder.shapes}
    return HostGraph(root, graph, shapes, _ancestors(graph), prefix)


def _ancestors(graph: fx.Graph) -> dict[fx.Node, int]:
    result: dict[fx.Node, int] = {}
    for i, node in enumerate(graph.nodes):
        bits = 1 << i
        for parent in node.all_input_nodes:
            bits |= result[parent]
        result[node] = bits
    return result


class _ShapeRecorder(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor by the name of its node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, Shape] = {}

    def run_node(self, n: fx.Node) -> Any:
        with torch.no_grad():
            result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape[1:])
        return result


def is_feature_map(shape: Shape | None) -> bool:
    """Return whether a shape (without batch) is (C, H, W)."""
    return shape is not None and len(shape) == 3 and math.prod(shape) > 0
