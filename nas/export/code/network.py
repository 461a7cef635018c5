"""A network that was built, as classes of Python that depend on torch alone and have the same names of parameters."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from nas.export.code.classes import Instance, write_classes
from nas.export.code.errors import CannotWriteError
from nas.export.code.expressions import Expressions
from nas.export.code.file_names import FileNames
from nas.export.code.foreign_layers import foreign_layer
from nas.export.code.forward import ForwardWriter
from nas.export.code.layers import constructor_call, is_torch_layer, torch_layer
from nas.export.code.module_tree import ModuleTree
from nas.export.code.slices import Slice, cut
from nas.export.code.sources import Sources
from nas.export.code.values import Arg, Call, Literal, Ref, Value, fill, refs
from search_spaces.errors import InputError
from search_spaces.graphs.host_tracer import trace_in_both_modes

Made = Callable[[nn.Module, Sources, Callable[[nn.Module], Value]], Value]
"""Gives the call that makes a module, and copies what that needs; the last makes a class of a module's trace."""


@dataclass(frozen=True)
class Written:
    """The classes of a network but for the outermost, and what that consists of."""

    classes: list[str]
    children: list[tuple[str, Value]]
    """The attributes of the outermost class."""
    calls: dict[str, Value]
    """From the path of each module that is whole or has a class to what makes it."""
    piece: Slice
    writer: ForwardWriter
    tree: ModuleTree


class NetworkWriter:
    """Writes the classes of one file."""

    def __init__(self, made: Mapping[str, Made]) -> None:
        """Take how to make the modules that are not the host's, by their paths."""
        self._made = made
        self.names = FileNames()
        self.sources = Sources(self.names)
        self._expressions = Expressions(self.names, self.sources)
        self._instances: dict[str, Instance] = {}
        """The modules that need classes, by their paths in the network."""
        self._paths: dict[int, str] = {}
        self._change: Mapping[str, Callable[[Value], Value]] = {}

    def write(
        self,
        network: fx.GraphModule,
        visible: Sequence[fx.Node] = (),
        own: Sequence[fx.Node] = (),
        change: Mapping[str, Callable[[Value], Value]] | None = None,
    ) -> Written:
        """Return the classes of a network.

        Args:
            network: the network; data are not needed.
            visible: nodes that must be values in its outermost forward (see `cut`).
            own: nodes that must be calls of its outermost forward.
            change: from the path of a layer to what is written in the place of its call.

        Raises:
            CannotWriteError: something in it cannot be written.
        """
        self._change = change or {}
        self._paths = {id(module): path for path, module in network.named_modules()}
        outermost = self._write(network, network.graph, self._made, visible, own)
        classes: list[str] = []
        calls: dict[str, Value] = {}
        for group in _by_height(self._instances):
            filled = [replace(each, children=_filled(each.children, calls)) for each in group]
            texts, made = write_classes(filled, self.names)
            classes += texts
            calls |= made
        of_paths = {path: fill(value, calls) for path, value in outermost.calls.items()}
        return replace(outermost, classes=classes, children=list(_filled(outermost.children, calls)), calls=of_paths)

    def _write(
        self,
        root: nn.Module,
        graph: fx.Graph,
        made: Mapping[str, Made],
        visible: Sequence[fx.Node] = (),
        own: Sequence[fx.Node] = (),
    ) -> Written:
        called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
        whole = {path for path in called if not any(path.startswith(f"{outer}.") for outer in made)} | set(made)
        children = {path: [name for name, _ in m.named_children()] for path, m in root.named_modules()}
        piece = cut(graph, children, visible, own)
        slices = {each.path: each for each in _all_slices(piece) if each.path}
        tree = ModuleTree(root, frozenset(whole), slices, _sequences(graph, slices, children))
        calls = {path: self._make(root.get_submodule(path), path, made) for path in sorted(whole)}
        here = self._paths[id(root)]
        classes = [each for each in slices.values() if not each.is_chain]
        keys = {each.path: f"{here}.{each.path}" if here else each.path for each in classes}
        calls |= {path: Ref(key) for path, key in keys.items()}
        for each in classes:
            self._instances[keys[each.path]] = self._instance(each, keys[each.path], root, tree, calls)
        writer = ForwardWriter(piece, tree, self._expressions)
        return Written([], self._attributes("", root, tree, calls), calls, piece, writer, tree)

    def _make(self, module: nn.Module, path: str, made: Mapping[str, Made]) -> Value:
        try:
            if path in made:
                return made[path](module, self.sources, self.traced)
            return self._layer(module)
        except CannotWriteError as error:
            raise CannotWriteError(f"{path}: {error}") from None

    def _layer(self, module: nn.Module) -> Value:
        if is_torch_layer(module):
            change = self._change.get(self._paths.get(id(module), ""))
            return change(torch_layer(module)) if change else torch_layer(module)
        return foreign_layer(module, self.sources, self._layer) or self._copied_or_traced(module)

    def _copied_or_traced(self, module: nn.Module) -> Value:
        """Return the call of a class that is neither torch's nor a placed module's: its own, or made of its trace."""
        try:
            call = constructor_call(type(module).__name__, module)
            return Call(self.sources.copy(type(module)), call.args)
        except CannotWriteError as error:
            try:
                return self.traced(module)
            except CannotWriteError as other:
                raise CannotWriteError(f"{error}; nor from its trace: {other}") from None

    def traced(self, module: nn.Module) -> Value:
        """Return the call of a class made of a module's trace. Raises CannotWriteError."""
        if transient := [name for name, _ in module.named_buffers() if name not in module.state_dict()]:
            raise CannotWriteError(f"its buffer {transient[0]} is not saved, and what is in it is not in the trace")
        was_training = module.training
        try:
            graph = trace_in_both_modes(copy.deepcopy(module))
        except InputError as error:
            raise CannotWriteError(str(error)) from None
        finally:
            module.train(was_training)
        key = self._paths[id(module)]
        if key not in self._instances:
            written = self._write(module, graph, {})
            self._instances[key] = Instance(key, type(module).__name__, tuple(written.children), written.writer.write())
        return Ref(key)

    def _instance(self, piece: Slice, key: str, root: nn.Module, tree: ModuleTree, calls: dict[str, Value]) -> Instance:
        forward = ForwardWriter(piece, tree, self._expressions).write()
        kind = piece.kind.__name__ if piece.kind else "Part"
        return Instance(key, kind, tuple(self._attributes(piece.path, root, tree, calls)), forward)

    def _attributes(
        self, path: str, root: nn.Module, tree: ModuleTree, calls: dict[str, Value]
    ) -> list[tuple[str, Value]]:
        module = root.get_submodule(path)
        own = [
            (name, _own(name, value, module)) for name, value in [*module._parameters.items(), *module._buffers.items()]
        ]
        children = [(name, self._value(f"{path}.{name}" if path else name, tree, calls)) for name in tree.names(path)]
        return [(name, value) for name, value in own if value is not None] + children

    def _value(self, path: str, tree: ModuleTree, calls: dict[str, Value]) -> Value:
        if path in calls:
            return calls[path]
        return tree.holder(path, [self._value(f"{path}.{name}", tree, calls) for name in tree.names(path)])


def _own(name: str, value: torch.Tensor | None, module: nn.Module) -> Value | None:
    """Return what makes a parameter or a buffer of a module's own; None where there is none."""
    if value is None:
        return None
    if name in module._buffers:
        raise CannotWriteError(f"it has the buffer {name}, whose values its trace does not tell")
    ones = Call("torch.ones", (Arg(Literal(tuple(value.shape))),))
    return Call("nn.Parameter", (Arg(ones),))


def _all_slices(piece: Slice) -> list[Slice]:
    return [piece, *(inner for each in piece.slices for inner in _all_slices(each))]


def _filled(children: Iterable[tuple[str, Value]], calls: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple((name, fill(value, calls)) for name, value in children)


def _by_height(instances: Mapping[str, Instance]) -> list[list[Instance]]:
    """Return instances by how many are within each other, the innermost first."""
    heights: dict[str, int] = {}

    def height(key: str) -> int:
        if key not in heights:
            within = [inner for _, value in instances[key].children for inner in refs(value)]
            heights[key] = max((height(inner) + 1 for inner in within), default=0)
        return heights[key]

    groups: dict[int, list[Instance]] = {}
    for key, instance in instances.items():
        groups.setdefault(height(key), []).append(instance)
    return [groups[number] for number in sorted(groups)]


def _sequences(graph: fx.Graph, slices: Mapping[str, Slice], children: Mapping[str, list[str]]) -> frozenset[str]:
    """Return the paths that were sequences of modules in the host and are no slices."""
    kinds: dict[str, Any] = {}
    for node in graph.nodes:
        for path, kind in node.meta.get("nn_module_stack", {}).values():
            kinds[path] = kind
    return frozenset(
        path
        for path, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, nn.Sequential) and path not in slices and path in children
    )
