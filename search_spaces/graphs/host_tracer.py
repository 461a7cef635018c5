"""The symbolic trace of a host, made so that it holds in training and in evaluation.

What follows the mode has to be in the graph as a module: a trace in one mode bakes `self.training` in, and stochastic
depth or dropout would vanish. So layers stay whole, and where the host's own code still asks for the mode, it is
traced in both modes, and the two graphs must be the same but for functional dropout, which becomes a module.
"""

import inspect
import linecache
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.errors import InputError

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)

_DROPOUTS: dict[Any, type[nn.Module]] = {
    functional.dropout: nn.Dropout,
    functional.dropout1d: nn.Dropout1d,
    functional.dropout2d: nn.Dropout2d,
    functional.dropout3d: nn.Dropout3d,
    functional.alpha_dropout: nn.AlphaDropout,
    functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}

_TORCH = str(Path(torch.__file__).parent)
_ADVICE = (
    "try another host, or, where the code is yours, move what cannot be traced into a module of its own with no "
    "convolution in it"
)


def trace_in_both_modes(root: nn.Module) -> fx.Graph:
    """Return the graph of what `root` computes, in training as in evaluation; `root` is left in eval mode.

    Functional dropout that follows the mode becomes a dropout module of `root` (see `add_dropouts`).

    Raises:
        InputError: the code of `root` cannot be traced, or differs between the modes in another way.
    """
    graph, reads = _trace(root.eval())
    if not reads:
        return graph
    try:
        in_training, more = _trace(root.train())
    except InputError as error:
        raise InputError(f"in training mode {error}") from error
    finally:
        root.eval()
    lines = ", ".join(sorted({*reads, *more}))
    dropouts = _dropouts_by_mode(graph, in_training)
    if dropouts is None:
        raise InputError(f"it computes something else in training than in evaluation, at {lines}; {_ADVICE}")
    for node in dropouts:
        _make_module(root, graph, node)
    return graph


def add_dropouts(host: nn.Module, graph: fx.Graph, prefix: str = "") -> None:
    """Give a host the dropout modules that stand in its graph for functional dropout; they have no parameters."""
    for node in graph.nodes:
        if (make := node.meta.get("functional_dropout")) and str(node.target).startswith(prefix):
            owner, _, name = str(node.target).removeprefix(prefix).rpartition(".")
            host.get_submodule(owner).add_module(name, make().train(host.training))


class HostTracer(fx.Tracer):
    """Traces what a host computes; its layers stay whole.

    A layer is what torch calls one, what is derived from such a layer (a convolution that pads for itself), and a
    module without children that reads one tensor (activations, stochastic depth). A module in which no convolution
    is stays whole, too, if its code asks for the mode or cannot be traced: nothing could be placed in it.
    """

    proxy_buffer_attributes = True  # What is done to a buffer is part of what the host computes.

    def __init__(self) -> None:
        functions, self._untraceable = _known_to_timm()
        super().__init__(autowrap_functions=functions)
        self.reads: list[tuple[nn.Module, str]] = []
        """Where the code of modules that did not stay whole asks for the mode."""
        self._with_convs: set[str] = set()
        self._whole: set[nn.Module] = set()
        self._of_one_tensor = False
        self._attributes: dict[str, fx.Proxy] = {}

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        for path, module in root.named_modules():
            if isinstance(module, nn.Conv2d):
                parts = path.split(".")
                self._with_convs |= {".".join(parts[:length]) for length in range(len(parts) + 1)}
        with _reads_recorded(self.reads):
            return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if m in self._whole or super().is_leaf_module(m, module_qualified_name):
            return True
        if self._of_one_tensor and not m._modules:
            return True
        bases = (base for base in type(m).__mro__ if base not in _CONTAINERS)
        return any(base.__module__.startswith("torch.nn.modules") for base in bases)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._of_one_tensor = len(args) == 1 and not kwargs and isinstance(args[0], fx.Proxy)
        path = self.path_of_module(m)
        if (path in self._with_convs and not isinstance(m, self._untraceable)) or self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        last = next(iter(reversed(self.graph.nodes)), None)
        stack, num_calls, num_reads = self.module_stack.copy(), dict(self.num_calls), len(self.reads)
        try:
            result = super().call_module(m, forward, args, kwargs)
            if not any(reader is m for reader, _ in self.reads[num_reads:]):
                return result
        except Exception:  # Whatever the code of a host may raise.
            self.module_stack = stack
        self._erase_after(last)
        self.num_calls = num_calls
        del self.reads[num_reads:]
        self._whole.add(m)
        return super().call_module(m, forward, args, kwargs)

    def _erase_after(self, last: fx.Node | None) -> None:
        erased = list(takewhile(lambda node: node is not last, reversed(self.graph.nodes)))
        for node in erased:
            self.graph.erase_node(node)
        for name in [name for name, proxy in self._attributes.items() if proxy.node in erased]:
            del self._attributes[name]

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        self._attributes = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, Tensor) and not isinstance(a, nn.Parameter):
            raise fx.proxy.TraceError("it computes with a tensor that is neither a parameter nor a buffer")
        return super().create_arg(a)


def _known_to_timm() -> tuple[tuple[Callable[..., Any], ...], tuple[type[nn.Module], ...]]:
    """Return the functions and the modules that timm says cannot be traced; none if it was not imported."""
    layers: Any = sys.modules.get("timm.layers")
    if layers is None:
        return (), ()
    return tuple(layers.get_notrace_functions()), tuple(layers.get_notrace_modules())


def _trace(root: nn.Module) -> tuple[fx.Graph, set[str]]:
    """Return the graph in the present mode, and the lines of code that asked for the mode."""
    tracer = HostTracer()
    before, buffers = _states(), dict(root.named_buffers())
    try:
        graph = tracer.trace(root)
    except Exception as error:  # Whatever the code of a host may raise.
        said = str(error).partition("\n")[0]
        raise InputError(
            f"its code cannot be traced at {_line_that_raised(error)} ({type(error).__name__}: {said}); {_ADVICE}"
        ) from error
    if replaced := [path for path, buffer in root.named_buffers() if buffer is not buffers.get(path)]:
        raise InputError(f"its code replaces its buffer {replaced[0]}; where the code is yours, change it in place")
    if before != _states():
        raise InputError(f"its code draws random numbers by itself, which a trace would draw only once; {_ADVICE}")
    return graph, {line for _, line in tracer.reads}


def _states() -> tuple[Any, ...]:
    """Return the states of the generators that a host's code may draw from."""
    numpy_state: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), numpy_state[1].tobytes(), numpy_state[2]


class _RecordedTraining:
    """Stands for the attribute `training` of every module, and records who asks for it."""

    def __init__(self, reads: list[tuple[nn.Module, str]]) -> None:
        self._reads = reads

    def __get__(self, module: nn.Module | None, owner: type[nn.Module]) -> Any:
        if module is None:
            return self
        frame = sys._getframe(1)
        self._reads.append((module, _line(frame.f_code.co_filename, frame.f_lineno)))
        return module.__dict__["training"]

    def __set__(self, module: nn.Module, value: bool) -> None:
        module.__dict__["training"] = value


@contextmanager
def _reads_recorded(reads: list[tuple[nn.Module, str]]) -> Iterator[None]:
    nn.Module.training = _RecordedTraining(reads)  # type: ignore[assignment]
    try:
        yield
    finally:
        del nn.Module.training


def _dropouts_by_mode(graph: fx.Graph, in_training: fx.Graph) -> list[fx.Node] | None:
    """Return the calls of functional dropout that follow the mode; None if the graphs differ in anything else."""
    if len(graph.nodes) != len(in_training.nodes):
        return None
    found = []
    position: dict[fx.Node, int] = {}
    for i, (node, other) in enumerate(zip(graph.nodes, in_training.nodes, strict=True)):
        position[node] = position[other] = i
        if (node.op, node.target) != (other.op, other.target):
            return None
        if _arguments(node, position) == _arguments(other, position):
            continue
        if node.target not in _DROPOUTS:
            return None
        given, wanted = (_dropout_arguments(each) for each in (node, other))
        if (given.pop("training"), wanted.pop("training")) != (False, True):
            return None
        if position[given.pop("input")] != position[wanted.pop("input")] or given != wanted:
            return None
        found.append(node)
    return found


def _arguments(node: fx.Node, position: dict[fx.Node, int]) -> Any:
    """Return a node's arguments with positions in the graph in the place of nodes."""
    return fx.node.map_arg((node.args, node.kwargs), lambda parent: ("node", position[parent]))


def _dropout_arguments(node: fx.Node) -> dict[str, Any]:
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    bound.apply_defaults()
    return bound.arguments


def _make_module(root: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    """Replace a call of functional dropout by that of a module beside the module whose code calls it."""
    stack = node.meta.get("nn_module_stack") or {"": ("", None)}
    owner = list(stack.values())[-1][0]
    parent = root.get_submodule(owner)
    name = next(name for i in count() if not hasattr(parent, name := f"functional_dropout{i}"))
    arguments = _dropout_arguments(node)

    def make(kind: type[nn.Module] = _DROPOUTS[node.target]) -> nn.Module:
        return kind(arguments["p"], inplace=arguments["inplace"])

    parent.add_module(name, make().eval())
    with graph.inserting_after(node):
        call = graph.call_module(f"{owner}.{name}".removeprefix("."), (arguments["input"],))
    call.meta = node.meta | {"functional_dropout": make}
    node.replace_all_uses_with(call)
    graph.erase_node(node)


def _line_that_raised(error: Exception) -> str:
    """Return the innermost line of a traceback that is neither torch's nor this file's."""
    found = "its first line"
    traceback: TracebackType | None = error.__traceback__
    while traceback:
        filename = traceback.tb_frame.f_code.co_filename
        if not filename.startswith((_TORCH, "<")) and filename != __file__:
            found = _line(filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def _line(filename: str, number: int) -> str:
    """Return where a line is and what it says."""
    roots = [root for entry in (*sys.path, ".") if (root := str(Path(entry).resolve())) and filename.startswith(root)]
    short = filename[len(max(roots, key=len)) :].lstrip("/") if roots else filename
    return f"{short}:{number} `{linecache.getline(filename, number).strip()}`"
