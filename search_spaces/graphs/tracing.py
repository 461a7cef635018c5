"""A host as a graph: one symbolic trace and the shape of every tensor in it."""

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.errors import InputError
from search_spaces.graphs.host_tracer import trace_in_both_modes

Shape = tuple[int, ...]

_NORM_OR_ACTIVATION_FILES = (
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.instancenorm",
    "torch.nn.modules.normalization",
    "torch.nn.modules.activation",
    "timm.layers.activations",
    "timm.layers.inplace_abn",
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


_ADDITIONS = (operator.add, operator.iadd, torch.add)


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
        return self._called.get(node)

    @cached_property
    def _called(self) -> dict[fx.Node, nn.Module]:
        return {node: self._by_path[str(node.target)] for node in self.graph.nodes if node.op == "call_module"}

    @cached_property
    def _by_path(self) -> dict[str, nn.Module]:
        return dict(self.root.named_modules(remove_duplicate=False))

    def is_conv(self, node: fx.Node) -> bool:
        return node in self._conv_nodes

    @cached_property
    def _conv_nodes(self) -> frozenset[fx.Node]:
        return frozenset(node for node in self.graph.nodes if isinstance(self.module(node), nn.Conv2d))

    def is_norm_or_activation(self, node: fx.Node) -> bool:
        module = self.module(node)
        if module is not None:
            return _is_norm_or_activation(module)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return node.op in ("call_function", "call_method") and name in _ACTIVATION_FUNCTIONS

    def depends_on(self, node: fx.Node, other: fx.Node) -> bool:
        """Return whether `node` is computed from `other` (or is it)."""
        return bool(self.ancestors[node] >> self.position(other) & 1)

    def position(self, node: fx.Node) -> int:
        """Return the place of a node in the order of the graph, from 0."""
        return self._positions[node]

    def bits(self, nodes: Iterable[fx.Node]) -> int:
        """Return nodes as a set of bits in graph order."""
        return sum(1 << position for position in {self.position(node) for node in nodes})

    @cached_property
    def _positions(self) -> dict[fx.Node, int]:
        return {node: position for position, node in enumerate(self.graph.nodes)}

    def num_convs(self, bits: int) -> int:
        """Count the convolutions in a set of nodes given as bits."""
        return (bits & self._conv_bits).bit_count()

    @cached_property
    def _conv_bits(self) -> int:
        return self.bits(self._conv_nodes)

    def owners(self, node: fx.Node) -> tuple[str, ...]:
        """Return the paths in the host of its modules in whose forward the node stands, the outermost first."""
        return self._owners[node]

    @cached_property
    def _owners(self) -> dict[fx.Node, tuple[str, ...]]:
        return {node: self._owners_of(node) for node in self.graph.nodes}

    def _owners_of(self, node: fx.Node) -> tuple[str, ...]:
        stack: dict[str, Any] = node.meta.get("nn_module_stack", {})
        called = node.target if node.op == "call_module" else None
        paths = (path for path, _ in stack.values() if path != called)
        return tuple(
            path.removeprefix(self.prefix) for path in paths if path.startswith(self.prefix) and path != self.prefix
        )

    def submodule(self, path: str) -> nn.Module:
        """Return the host's module of a path that `owners` gave."""
        return self._by_path[self.prefix + path]


def trace(root: nn.Module, image: Tensor, prefix: str = "") -> HostGraph:
    """Trace a module that reads images of this shape; both are on the meta device.

    Functional dropout in it becomes modules of `root` (see `host_tracer.add_dropouts`).

    Raises:
        InputError: the module's code cannot be traced, or the module cannot read such images.
    """
    graph = trace_in_both_modes(root)
    shapes = _record_shapes(root, graph, image)
    return HostGraph(root, graph, shapes, _ancestors(graph), prefix)


def _ancestors(graph: fx.Graph) -> dict[fx.Node, int]:
    result: dict[fx.Node, int] = {}
    for i, node in enumerate(graph.nodes):
        bits = 1 << i
        for parent in node.all_input_nodes:
            bits |= result[parent]
        result[node] = bits
    return result


def _record_shapes(root: nn.Module, graph: fx.Graph, image: Tensor) -> dict[fx.Node, Shape]:
    """Run a graph and return the shape of every tensor in it, without its batch dimension."""
    recorder = _ShapeRecorder(root, graph=graph)
    try:
        with torch.no_grad():
            recorder.run(image)
    except Exception as error:  # Whatever the code of a host may raise.
        height, width = image.shape[2:]
        where = f" (at {recorder.running})" if recorder.running else ""
        raise InputError(
            f"it cannot read {height}x{width} images{where}: {str(error).partition(chr(10))[0]}"
        ) from error
    return recorder.shapes


class _ShapeRecorder(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor.

    It answers without computing where that is easy: torch's own way to a shape took most of the time of a trace.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.extra_traceback = False
        self.shapes: dict[fx.Node, Shape] = {}
        self.running = ""
        """The module in whose code the last node stands."""

    def run_node(self, n: fx.Node) -> Any:
        self.running = next(reversed(n.meta.get("nn_module_stack", {"": None})))
        result = getattr(self, n.op)(n.target, *self.fetch_args_kwargs_from_env(n))
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape[1:])
        return result

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.submodules[target]
        if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
            if _is_norm_or_activation(module):
                return args[0]
            if type(module) is nn.Conv2d and args[0].dim() == 4 and isinstance(module.padding, tuple):
                return _convolve(module, args[0])
            if type(module) is nn.AdaptiveAvgPool2d:
                return _pool(args[0], module.output_size)
            if type(module) is nn.Linear:
                return _multiply(module, args[0])
        return module(*args, **kwargs)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in _ADDITIONS and all(isinstance(arg, Tensor) and arg.shape == args[0].shape for arg in args):
            return args[0]
        if target is functional.adaptive_avg_pool2d and len(args) == 2 and isinstance(args[0], Tensor):
            return _pool(*args)
        return target(*args, **kwargs)


def _convolve(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    """Return what a convolution answers on the meta device."""
    num_images, channels, *size = x_BCHW.shape
    if channels != conv.in_channels:
        raise InputError(f"expected {conv.in_channels} channels, got {channels}")
    assert isinstance(conv.padding, tuple)
    geometry = zip(size, conv.kernel_size, conv.stride, conv.padding, conv.dilation, strict=True)
    size = [(n + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for n, kernel, stride, pad, dilation in geometry]
    if min(size) < 1:
        raise InputError(f"a kernel of {conv.kernel_size} is larger than its input, {tuple(x_BCHW.shape[2:])}")
    return x_BCHW.new_empty(num_images, conv.out_channels, *size)


def _multiply(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return what a linear layer answers on the meta device, where torch would import its compiler for it."""
    *batch, features = x.shape
    if features != linear.in_features:
        raise InputError(f"expected {linear.in_features} features, got {features}")
    return x.new_empty(*batch, linear.out_features)


def _pool(x: Tensor, size: int | Sequence[int | None] | None) -> Tensor:
    """Return what adaptive average pooling answers there, for which torch would import its compiler too."""
    wanted = size if isinstance(size, Sequence) else (size, size)
    height, width = (old if new is None else new for old, new in zip(x.shape[-2:], wanted, strict=True))
    return x.new_empty(*x.shape[:-2], height, width)


def _is_norm_or_activation(module: nn.Module) -> bool:
    """Return whether a module is one of the layers that may follow a convolution, or derived from one."""
    if isinstance(module, nn.GLU | nn.MultiheadAttention):  # Torch has them among its activations.
        return False
    if any(base.__module__.startswith(_NORM_OR_ACTIVATION_FILES) for base in type(module).__mro__):
        return True
    return "Norm" in type(module).__name__ and not any(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())


def is_feature_map(shape: Shape | None) -> bool:
    """Return whether a shape (without batch) is (C, H, W)."""
    return shape is not None and len(shape) == 3 and math.prod(shape) > 0
