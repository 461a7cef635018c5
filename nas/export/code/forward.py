"""The statements of a forward: calls in their order, nested where that reads well, and names for what is kept."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count

from torch import fx

from nas.export.code.expressions import Expressions
from nas.export.code.module_tree import ModuleTree
from nas.export.code.slices import Slice
from nas.export.code.values import Arg, Call, Name, Value, as_one, render

NESTED = 30
"""Characters up to which an expression may stand inside of the next."""

_LETTERS = ("x", "y", "z", "u", "v", "w", "a", "b", "c", "d", "e", "g", "h", "k", "p", "q", "r", "s", "t")


@dataclass(frozen=True)
class Input:
    """An argument of a forward: a tensor, or a list of them."""

    nodes: tuple[fx.Node, ...]
    is_list: bool = False


@dataclass
class _State:
    """What is known where the next statement will stand."""

    values: dict[fx.Node, Value] = field(default_factory=dict)
    carriers: dict[fx.Node, str] = field(default_factory=dict)
    """From a value that is not yet in a variable to the name of the variable that it came from."""


@dataclass(frozen=True)
class Forward:
    """A forward that was written."""

    parameters: tuple[str, ...]
    lines: tuple[str, ...]
    returns: str
    """The annotation of what it returns."""


class ForwardWriter:
    """Writes the forward of one slice."""

    def __init__(self, piece: Slice, tree: ModuleTree, expressions: Expressions) -> None:
        self._slice = piece
        self._tree = tree
        self._expressions = expressions
        self.inputs = inputs_of(piece)
        self.modules = modules_of(piece)
        self._module_names = _module_names(self.modules)
        self._taken = set(self._module_names.values())

    def write(self) -> Forward:
        """Return the whole forward."""
        state = self.start()
        lines, values = self.statements(self._slice.items, state, self._slice.outputs)
        lines.append(_return(values))
        returns = "Tensor" if len(values) == 1 else f"tuple[{', '.join(['Tensor'] * len(values))}]"
        return Forward(tuple(self._parameters(state)), tuple(lines), returns)

    def start(self) -> _State:
        """Return the state at the beginning, in which the inputs have their names."""
        state = _State()
        names = self._fresh(set())
        for each in self.inputs:
            name = next(names)
            if each.is_list:
                state.values |= {node: Name(f"{name}[{number}]") for number, node in enumerate(each.nodes)}
            else:
                state.values[each.nodes[0]] = Name(name)
        return state

    def _parameters(self, state: _State) -> list[str]:
        parameters = []
        for each in self.inputs:
            value = state.values[each.nodes[0]]
            assert isinstance(value, Name)
            name = value.text.partition("[")[0]
            parameters.append(f"{name}: {'list[Tensor]' if each.is_list else 'Tensor'}")
        return parameters + [f"{name}: nn.Module" for name in self._module_names.values()]

    def statements(
        self, items: Sequence[fx.Node | Slice], state: _State, outputs: Sequence[fx.Node]
    ) -> tuple[list[str], list[Value]]:
        """Return the lines that compute some items, one after the other, and what `outputs` are then."""
        lines: list[str] = []
        left = Counter(chain(*(reads(item) for item in items), outputs))
        for number, item in enumerate(items):
            following = items[number + 1] if number + 1 < len(items) else None
            value = self._call(item, state)
            read = list(dict.fromkeys(reads(item)))
            left.subtract(reads(item))
            made = _makes(item)
            carrier = self._carrier(read, state, left)
            if len(made) == 1 and self._may_nest(made[0], value, following, left, outputs):
                state.values[made[0]] = value
                if carrier:
                    state.carriers[made[0]] = carrier
                continue
            names = self._names_for(made, carrier, state, left)
            lines.append(f"{', '.join(names)} = {render(value, 8, 8 + len(', '.join(names)) + 3)}")
            for node, name in zip(made, names, strict=True):
                state.values[node] = Name(name)
        return lines, [state.values[node] for node in outputs]

    def _may_nest(
        self,
        node: fx.Node,
        value: Value,
        following: "fx.Node | Slice | None",
        left: "Counter[fx.Node]",
        outputs: Sequence[fx.Node],
    ) -> bool:
        if left[node] != 1:
            return False
        if following is None:
            return list(outputs) == [node]
        return node in reads(following) and len(render(value, 0, -10_000)) <= NESTED

    def _carrier(self, read: list[fx.Node], state: _State, left: "Counter[fx.Node]") -> str | None:
        """Return the variable that holds what is read here for the last time."""
        for node in read:
            if left[node] > 0:
                continue
            if node in state.carriers:
                return state.carriers[node]
            value = state.values.get(node)
            if isinstance(value, Name) and value.text.isidentifier():
                return value.text
        return None

    def _names_for(
        self, made: list[fx.Node], carrier: str | None, state: _State, left: "Counter[fx.Node]"
    ) -> list[str]:
        live = {word for node, value in state.values.items() if left[node] > 0 for word in _words(value)}
        fresh = self._fresh(live)
        names = [carrier] if carrier and carrier not in live else []
        while len(names) < len(made):
            name = next(fresh)
            if name not in names:
                names.append(name)
        return names[: len(made)]

    def _fresh(self, live: set[str]) -> Iterator[str]:
        more = (f"{letter}{number}" for number in count(2) for letter in _LETTERS)
        taken = live | self._taken
        return (name for name in chain(_LETTERS, more) if name not in taken)

    def _call(self, item: fx.Node | Slice, state: _State) -> Value:
        if isinstance(item, Slice):
            tensors = [self._argument(each, state) for each in inputs_of(item)]
            modules = [Arg(Name(self._module(path))) for path in modules_of(item)]
            return Call(self._module(item.path), (*tensors, *modules))
        if item.op == "call_module":
            return Call(self._module(str(item.target)), self._expressions.args(item, self._reader(state)))
        return self._expressions.function(item, self._reader(state))

    def _argument(self, given: Input, state: _State) -> Arg:
        values = tuple(state.values[node] for node in given.nodes)
        return Arg(as_one(values) if given.is_list else values[0])

    def _reader(self, state: _State) -> "_Reader":
        return _Reader(self, state)

    def read(self, node: fx.Node, state: _State) -> Value:
        """Return what stands for a node: a variable, an expression, or an attribute of the module."""
        if node.op == "get_attr":
            return Name(self._tree.reach(str(node.target), self._slice.path))
        return state.values[node]

    def _module(self, path: str) -> str:
        return self._module_names.get(path) or self._tree.reach(path, self._slice.path)


@dataclass(frozen=True)
class _Reader:
    writer: ForwardWriter
    state: _State

    def __call__(self, node: fx.Node) -> Value:
        return self.writer.read(node, self.state)


def inputs_of(piece: Slice) -> list[Input]:
    """Return the arguments of a slice, in the order in which it first reads them.

    What it reads as a list and in no other way is one argument: the layers of a dense block, which read one map more
    each, then have the same code.
    """
    inputs = set(piece.inputs)
    listed: dict[fx.Node, Input] = {}
    inside = set(piece.nodes)
    for node in piece.nodes:
        for arg in node.args:
            if isinstance(arg, list) and all(isinstance(each, fx.Node) and each in inputs for each in arg):
                alone = all([user for user in each.users if user in inside] == [node] for each in arg)
                if alone and len(set(arg)) == len(arg) > 0 and not listed.keys() & set(arg):
                    listed |= dict.fromkeys(arg, Input(tuple(arg), is_list=True))
    return list(dict.fromkeys(listed.get(node) or Input((node,)) for node in piece.inputs))


def modules_of(piece: Slice) -> list[str]:
    """Return the paths of the modules that a slice calls and that lie elsewhere: they are arguments, too."""
    return list(dict.fromkeys(str(node.target) for node in piece.nodes if piece.outside(node)))


def _module_names(paths: Sequence[str]) -> dict[str, str]:
    """Return a name for each module that is an argument: what is placed at `layer1.0/branch` is called `branch`."""
    names: dict[str, str] = {}
    for path in paths:
        parts = path.split(".")
        if parts[0] == "attention" and len(parts) > 2:
            place = re.sub(r"\W", "_", parts[1].rpartition("__")[2])
            wanted = "_".join([place, "attention", *parts[3:]])
        else:
            wanted = "_".join(part for part in parts[-2:] if not part.isdigit()) or "module"
        name = wanted if wanted.isidentifier() else f"module_{wanted}"
        number = 2
        while name in names.values():
            name, number = f"{wanted}{number}", number + 1
        names[path] = name
    return names


def reads(item: fx.Node | Slice) -> list[fx.Node]:
    """Return the values that a call reads, each as often as it does."""
    if isinstance(item, Slice):
        return [node for each in inputs_of(item) for node in each.nodes]
    read: list[fx.Node] = []
    fx.node.map_arg((item.args, item.kwargs), read.append)
    return [node for node in read if node.op != "get_attr"]


def _makes(item: fx.Node | Slice) -> list[fx.Node]:
    return item.outputs if isinstance(item, Slice) else [item]


def _words(value: Value) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", render(value, 0, -10_000))


def _return(values: Sequence[Value]) -> str:
    if len(values) == 1:
        return f"return {render(values[0], 8, 15)}"
    return f"return {', '.join(render(value, 8, -10_000) for value in values)}"
