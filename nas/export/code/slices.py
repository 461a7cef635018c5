"""A graph cut along the modules in whose forward its nodes stand, so that each can have a forward of its own again.

A module's slice can be a call if nothing of it depends on what comes after it has begun and lies outside. Where that
is not so (attention was placed between its parts, it is called twice, or what is inside is wanted outside), the module
is dissolved: it keeps its place and its parameters, and its parts are called by the module around it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn


@dataclass(eq=False)
class Slice:
    """What a module computes: a part of the graph."""

    path: str
    kind: type[nn.Module] | None
    """Its class in the host."""
    nodes: list[fx.Node] = field(default_factory=list)
    """All of it, in graph order; attributes that are read are not among them."""
    items: list["fx.Node | Slice"] = field(default_factory=list)
    """Its own nodes and the slices in it, in the order of their calls."""
    inputs: list[fx.Node] = field(default_factory=list)
    outputs: list[fx.Node] = field(default_factory=list)
    is_chain: bool = False
    """Whether it is a sequence of modules, each called on the answer of the one before it."""

    @property
    def slices(self) -> list["Slice"]:
        """The slices in it."""
        return [item for item in self.items if isinstance(item, Slice)]

    def outside(self, node: fx.Node) -> bool:
        """Return whether a node calls a module that is not under this one."""
        return node.op == "call_module" and bool(self.path) and not str(node.target).startswith(f"{self.path}.")


def cut(
    graph: fx.Graph, children: dict[str, list[str]], visible: Iterable[fx.Node] = (), own: Iterable[fx.Node] = ()
) -> Slice:
    """Return the slice of the whole graph.

    Args:
        graph: with `nn_module_stack` on the nodes that the host's trace made; nodes that were placed have none.
        children: from the path of every module to the names of its children.
        visible: nodes that must be values in the outermost forward.
        own: nodes that must be calls of the outermost forward itself.
    """
    return _Cutter(graph, children, list(visible), list(own)).cut()


class _Cutter:
    def __init__(
        self, graph: fx.Graph, children: dict[str, list[str]], visible: list[fx.Node], own: list[fx.Node]
    ) -> None:
        self._children = children
        self._visible = visible
        self._own = own
        self._position = {node: i for i, node in enumerate(graph.nodes)}
        self._output = next(node for node in graph.nodes if node.op == "output")
        self._ancestors: dict[fx.Node, int] = {}
        for node in graph.nodes:
            bits = 1 << self._position[node]
            for parent in node.all_input_nodes:
                bits |= self._ancestors[parent]
            self._ancestors[node] = bits
        # What the answer does not depend on is left out: the state that a recurrent module leaves at its last site.
        used = self._ancestors[self._output]
        calls = [node for node in graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
        self._nodes = [node for node in calls if used >> self._position[node] & 1]
        self._used = set(self._nodes) | {self._output}
        self._kinds: dict[str, tuple[str, type[nn.Module] | None]] = {"": ("", None)}
        self._chains = self._find_chains()
        times = Counter(path for path, _ in self._kinds.values())
        self._dissolved = {key for key, (path, _) in self._kinds.items() if times[path] > 1}

    def cut(self) -> Slice:
        while True:
            slices = self._assign()
            for each in slices.values():
                self._border(each)
            broken = {key for key, each in slices.items() if key and not self._holds(each)}
            if not broken:
                broken = self._order(slices)
            if not broken:
                broken = {key for key, each in slices.items() if key and not self._is_useful(each)}
            if not broken:
                return slices[""]
            self._dissolved |= broken

    def _find_chains(self) -> dict[fx.Node, tuple[str, ...]]:
        """Return for each node the calls in whose forward it stands, the outermost first."""
        chains: dict[fx.Node, tuple[str, ...]] = {}
        placed = []
        for node in self._nodes:
            stack: dict[str, Any] | None = node.meta.get("nn_module_stack")
            if stack is None:
                placed.append(node)
                continue
            called = str(node.target) if node.op == "call_module" else None
            # Not what is whole: a layer is no part of its own forward.
            keys = [key for key, (path, _) in stack.items() if path and path != called]
            for key in keys:
                kind = stack[key][1]
                self._kinds[key] = (stack[key][0], kind if isinstance(kind, type) else None)
            chains[node] = tuple(keys)
        for node in placed:
            chains[node] = self._chain_of_placed(node, chains)
        return chains

    def _chain_of_placed(self, node: fx.Node, chains: dict[fx.Node, tuple[str, ...]]) -> tuple[str, ...]:
        """Return where a node that was placed belongs: around what it reads and what reads it."""
        first = next((chains[parent] for parent in node.all_input_nodes if parent in chains), ())
        common = first
        users, seen = list(node.users), set()
        while users:
            user = users.pop()
            if user in seen or user not in self._used:
                continue
            seen.add(user)
            if user in chains:
                common = _common(common, chains[user])
            elif user.op == "output":
                common = ()
            else:
                users += user.users
        # A list of blocks has no forward to stand in: then it is the end of the block before.
        length = len(common)
        while length < len(first) and self._is_list(first[length - 1] if length else ""):
            length += 1
        deeper = first[:length]
        return deeper if not self._is_list(deeper[-1] if deeper else "") else common

    def _is_list(self, key: str) -> bool:
        kind = self._kinds[key][1]
        return kind is not None and issubclass(kind, nn.Sequential) and kind.forward is nn.Sequential.forward

    def _assign(self) -> dict[str, Slice]:
        slices = {"": Slice("", None)}
        for node in self._nodes:
            chain = [key for key in self._chains[node] if key not in self._dissolved]
            around = slices[""]
            around.nodes.append(node)
            for key in chain:
                if key not in slices:
                    slices[key] = Slice(*self._kinds[key])
                    around.items.append(slices[key])
                around = slices[key]
                around.nodes.append(node)
            around.items.append(node)
        return slices

    def _border(self, each: Slice) -> None:
        inside = set(each.nodes)
        read = (parent for node in each.nodes for parent in node.all_input_nodes)
        each.inputs = list(dict.fromkeys(p for p in read if p not in inside and p.op != "get_attr"))
        each.outputs = [
            node for node in each.nodes if any(user not in inside for user in node.users if user in self._used)
        ]

    def _holds(self, each: Slice) -> bool:
        """Return whether a slice can be a call."""
        bits = sum(1 << self._position[node] for node in each.nodes)
        if any(self._ancestors[node] & bits for node in each.inputs):
            return False
        if any(node in each.nodes and each.outputs != [node] for node in self._visible):
            return False
        if any(node in each.nodes for node in self._own):
            return False
        kind = each.kind
        if kind is not None and issubclass(kind, nn.Sequential) and kind.forward is nn.Sequential.forward:
            each.is_chain = self._is_chain(each)
            return each.is_chain
        return True

    def _is_chain(self, each: Slice) -> bool:
        """Return whether a list of modules is called one after the other and does nothing else."""
        if len(each.inputs) != 1 or len(each.outputs) != 1:
            return False
        before, called = each.inputs[0], []
        for item in each.items:
            if isinstance(item, Slice):
                if item.inputs != [before] or len(item.outputs) != 1 or any(map(item.outside, item.nodes)):
                    return False
                called.append(item.path)
                before = item.outputs[0]
            else:
                if item.op != "call_module" or item.args != (before,) or item.kwargs:
                    return False
                called.append(str(item.target))
                before = item
        return called == [f"{each.path}.{name}" for name in self._children[each.path]] and before == each.outputs[0]

    def _is_useful(self, each: Slice) -> bool:
        """Return whether a slice is more than a module that only hands on to the modules in it."""
        if each.is_chain or each.kind is None:
            return True
        return not issubclass(each.kind, nn.ModuleList | nn.ModuleDict) or any(
            isinstance(item, fx.Node) for item in each.items
        )

    def _order(self, slices: dict[str, Slice]) -> set[str]:
        """Put the items of each slice in the order of their calls; return the slices that have none."""
        broken: set[str] = set()
        for each in slices.values():
            makes = {node: item for item in each.items for node in _nodes_of(item)}
            waiting = sorted(each.items, key=lambda item: self._position[_nodes_of(item)[0]])
            ordered: list[fx.Node | Slice] = []
            done: set[int] = set()
            while waiting:
                ready = next((item for item in waiting if _needs(item, makes) <= done), None)
                if ready is None:
                    keys = {id(part): key for key, part in slices.items()}
                    broken |= {keys[id(item)] for item in waiting if isinstance(item, Slice)}
                    break
                waiting.remove(ready)
                ordered.append(ready)
                done.add(id(ready))
            each.items = ordered
        return broken


def _nodes_of(item: fx.Node | Slice) -> Sequence[fx.Node]:
    return item.nodes if isinstance(item, Slice) else (item,)


def _needs(item: fx.Node | Slice, makes: dict[fx.Node, fx.Node | Slice]) -> set[int]:
    read = item.inputs if isinstance(item, Slice) else item.all_input_nodes
    return {id(makes[node]) for node in read if node in makes}


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]
