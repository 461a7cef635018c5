"""Building an architecture: the host's graph, edited at the sites.

The host's parameters keep their names, so that pretrained weights load as usual. The modules' parameters stand
under `attention.<site>.<position>`, by the name that the site's tensor is known as; those of a module that stands
for a convolution stand beside the convolution's `weight`. Where the host's own attention is replaced or removed, its
parameters are gone.
"""

import copy
import hashlib
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces.attention import bridge_from, entry
from search_spaces.attention.ba import BridgeWeights
from search_spaces.attention.layers import scale_channels
from search_spaces.fitting import ModuleSpec, bridged, build_module
from search_spaces.graphs.own_attention import region
from search_spaces.graphs.tracing import HostGraph
from search_spaces.hosts import HostConfig
from search_spaces.naming import tensor_names
from search_spaces.networks import build_network, build_network_on_meta, trace_host
from search_spaces.sites import find_sites
from search_spaces.sites.site_type import Site

Placement = tuple[tuple[str, tuple[ModuleSpec, ...]], ...]
"""The occupied sites in network order, each with its modules in order."""

_AS_MAP = (slice(None), slice(None), None, None)
"""Indexing with it makes (B, C) to (B, C, 1, 1)."""

_OUT_OF_PLACE: dict[Any, Any] = {operator.iadd: operator.add, "add_": "add"}


@dataclass(frozen=True)
class Placed:
    """One call of an attention module in a network that was built."""

    site: str
    spec: ModuleSpec
    path: str
    """Of the module in the part of the network that was edited; modules that sites share have one path."""
    call: str
    """The name in the graph of the node that calls it; of bridge attention whose weights a later block reads, of the
    node that scales by them."""


@dataclass(frozen=True)
class Layout:
    """Where things are in the graph of a network that was built."""

    placed: tuple[Placed, ...]
    """The attention modules in the order in which they were placed; what is removed leaves none."""
    standing: dict[str, str]
    """From a node's name in the bare host's graph to the node that stands for it, attention there included."""


def build(host: HostConfig, placement: Placement, seed: int) -> nn.Module:
    """Build the network on the CPU.

    The host is drawn from `seed` first, then each module from (seed, site): every architecture gets the same
    host weights from the same seed. The global generator is left as it was.
    """
    with _seeded(seed):
        network = build_network(host)
    return _edit(host, network, placement, lambda name: _seeded(_derive(seed, name)))


def build_on_meta(host: HostConfig, placement: Placement) -> nn.Module:
    """Build the network without data (meta device), for counting."""
    return _edit(host, build_network_on_meta(host), placement, lambda _: torch.device("meta"))


def lay_out(host: HostConfig, placement: Placement) -> Layout:
    """Return where things are in the graph of the network that `build` makes of this; names do not depend on seeds."""
    editor = _editor(host, build_network_on_meta(host), placement, lambda _: torch.device("meta"))
    return editor.layout()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Build on the CPU from `seed` inside, and leave torch's global generator untouched outside."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        with torch.device("cpu"):
            yield
    finally:
        generator.set_state(state)


def _derive(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7])


def _edit(
    host: HostConfig,
    network: nn.Module,
    placement: Placement,
    context: Callable[[str], AbstractContextManager[object]],
) -> nn.Module:
    """Place the modules, each built inside `context(<site>#<position>)`."""
    edited = _editor(host, network, placement, context).finish()
    if not host.traced_part:
        return edited
    network.set_submodule(host.traced_part, edited)
    return network


def _editor(
    host: HostConfig,
    network: nn.Module,
    placement: Placement,
    context: Callable[[str], AbstractContextManager[object]],
) -> "_Editor":
    editor = _Editor(network.get_submodule(host.traced_part), trace_host(host))
    sites = {site.name: site for site in find_sites(host)}
    names = tensor_names(sites, placement)
    num_placed: Counter[str] = Counter()
    for name, specs in placement:
        known_as = names[name]
        for spec in specs:
            if entry(spec.module).kind == "removal":
                editor.remove(sites[name])
                continue
            with context(f"{known_as}#{num_placed[known_as]}"):
                editor.place(sites[name], f"{known_as}.{num_placed[known_as]}", spec)
            num_placed[known_as] += 1
    return editor


def no_attention(x_BCHW: Tensor) -> Tensor:
    """Return channel weights (B, C, 1, 1) that change nothing."""
    return torch.ones_like(x_BCHW[:, :, :1, :1])


def unchanged(x_BCHW: Tensor) -> Tensor:
    """Return the map itself: what stands where the host's own attention was removed."""
    return x_BCHW


class _Editor:
    """Edits a copy of a host's graph, in network order, so that a bridge reads what earlier edits made."""

    def __init__(self, host: nn.Module, traced: HostGraph) -> None:
        self._traced = traced
        self._network = fx.GraphModule(host, copy.deepcopy(traced.graph))
        self._graph = self._network.graph
        self._original: dict[str, fx.Node] = {node.name: node for node in self._graph.nodes}
        self._current = dict(self._original)
        """From the name of a node of the host to the node that now stands for it."""
        self._shared: dict[str, str] = {}
        self._states: dict[str, fx.Node] = {}
        """From the path of a recurrent module to the state that its last call left."""
        self._weighing: dict[str, fx.Node] = {}
        """From the name of a node of the host to the last call there of a module that has `weigh`."""
        self._weights: dict[fx.Node, fx.Node] = {}
        self._taken_out: dict[str, str] = {}
        """From the output of each attention of the host that was taken out to its input, both names of nodes."""
        self._placed: list[tuple[str, ModuleSpec, str, fx.Node]] = []

    def place(self, site: Site, name: str, spec: ModuleSpec) -> None:
        """Put a module at a site, after what stands there already; its parameters stand under this name."""
        kind = entry(spec.module).kind
        if kind == "weights":
            path = self._replace_conv(site, spec)
            self._placed.append((site.name, spec, path, self._current[site.target]))
            return
        path = self._add_module(site, name, spec)
        if kind == "merge":
            node = self._replace_merge(site, path)
        elif kind == "recurrent":
            node = self._refine_with_state(site, path)
        else:
            sources = ([self._source(site, spec, number) for number in range(len(bridged(site, spec)))],)
            node = self._refine(site, path, *(sources if kind == "bridge" else ()))
            if isinstance(getattr(self._network.get_submodule(path), "weigh", None), BridgeWeights):
                self._weighing[site.target] = node
                self._weighing[self._taken_out.get(site.target, site.target)] = node
        self._placed.append((site.name, spec, path, node))

    def _add_module(self, site: Site, name: str, spec: ModuleSpec) -> str:
        if spec.share and spec.share in self._shared:
            return self._shared[spec.share]
        known_as, _, position = name.rpartition(".")
        path = f"attention.{known_as.replace('.', '_').replace('/', '__')}.{position}"
        self._network.add_submodule(path, build_module(site, spec))
        if spec.share:
            self._shared[spec.share] = path
        return path

    def _refine(self, site: Site, path: str, *more: Any) -> fx.Node:
        """Call the module on what stands at the site, let its answer stand there, and return it."""
        if site.refines_input:
            return self._refine_input(site, path, *more)
        if site.replaces_from and site.target not in self._taken_out:
            return self._replace_own(site, path, *more)
        target = self._current[site.target]
        with self._graph.inserting_after(target):
            node = self._graph.call_module(path, (target, *more))
        self._stand_for(target, node)
        self._current[site.target] = node
        return node

    def _refine_input(self, site: Site, path: str, *more: Any) -> fx.Node:
        """Call the module on what the convolution at the site reads, let this convolution read its answer."""
        conv = self._current[site.target]
        target = conv.all_input_nodes[0]
        with self._graph.inserting_before(conv):
            node = self._graph.call_module(path, (target, *more))
        conv.replace_input_with(target, node)
        return node

    def _stand_for(self, old: fx.Node, new: fx.Node) -> None:
        """Let `new`, which reads `old`, be read in its place."""
        old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
        self._keep_from_change(new)

    def _keep_from_change(self, node: fx.Node) -> None:
        """Let no one add to a tensor in place: what a module returns may be kept for its backward pass."""
        for user in node.users:
            user.target = _OUT_OF_PLACE.get(user.target, user.target)

    def _refine_with_state(self, site: Site, path: str) -> fx.Node:
        call = self._refine(site, path, self._states.get(path))
        with self._graph.inserting_after(call):
            state = self._graph.call_function(operator.getitem, (call, 1))
            output = self._graph.call_function(operator.getitem, (call, 0))
        call.replace_all_uses_with(output, delete_user_cb=lambda user: user not in (state, output))
        if not site.refines_input:
            self._current[site.target] = output
        self._states[path] = state
        return call

    def _source(self, site: Site, spec: ModuleSpec, number: int) -> fx.Node:
        name = bridged(site, spec)[number].node
        origin = bridge_from(spec.module, spec.knobs)
        if origin == "previous_attention":
            return self._attention_at(name)
        return self._original[name] if origin == "previous_conv" else self._current[name]

    def _attention_at(self, name: str) -> fx.Node:
        """Return the weights (B, C, 1, 1) that a bridge's module gave the channels of a node of the host."""
        call = self._weighing.get(name)
        if call is None:
            original = self._original[name]
            with self._graph.inserting_after(original):
                return self._graph.call_function(no_attention, (original,))
        if call not in self._weights:
            self._weights[call] = self._take_apart(call)
        return self._weights[call]

    def _take_apart(self, call: fx.Node) -> fx.Node:
        """Replace the call of a module by that of its `weigh` and the scaling; return the weights, (B, C, 1, 1)."""
        with self._graph.inserting_after(call):
            weights = self._graph.call_module(f"{call.target}.weigh", call.args)
        with self._graph.inserting_after(weights):
            scaled = self._graph.call_function(scale_channels, (call.args[0], weights))
            as_map = self._graph.call_function(operator.getitem, (weights, _AS_MAP))
        call.replace_all_uses_with(scaled)
        self._graph.erase_node(call)
        self._current |= {key: scaled for key, node in self._current.items() if node is call}
        self._placed = [(site, spec, path, scaled if node is call else node) for site, spec, path, node in self._placed]
        return as_map

    def _replace_conv(self, site: Site, spec: ModuleSpec) -> str:
        path = str(self._current[site.target].target)
        conv = self._network.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        weight = conv.weight
        module = build_module(site, spec, conv)
        kept = getattr(module, "weight", None)
        assert isinstance(kept, nn.Parameter), f"{spec.module} must keep the convolution's `weight`"
        assert kept is weight or kept.shape[1:] == weight.shape[1:], f"{spec.module}: {kept.shape} of {weight.shape}"
        self._network.set_submodule(path, module)
        return path

    def _replace_merge(self, site: Site, path: str) -> fx.Node:
        target = self._current[site.target]
        branch, shortcut = target.args if site.branch_operand == 0 else target.args[::-1]
        with self._graph.inserting_after(target):
            node = self._graph.call_module(path, (branch, shortcut))
        target.replace_all_uses_with(node)
        self._graph.erase_node(target)
        self._current[site.target] = node
        return node

    def remove(self, site: Site) -> None:
        """Put nothing in the place of the host's own attention."""
        start = self._current[site.replaces_from]
        with self._graph.inserting_after(self._current[site.target]):
            # A node of its own: others may read the input, and do not read what is placed behind.
            node = self._graph.call_function(unchanged, (start,))
        self._take_out(site, node)

    def _replace_own(self, site: Site, path: str, *more: Any) -> fx.Node:
        """Call the module on what the host's own attention reads, in its place."""
        with self._graph.inserting_after(self._current[site.target]):
            node = self._graph.call_module(path, (self._current[site.replaces_from], *more))
        self._take_out(site, node)
        return node

    def _take_out(self, site: Site, node: fx.Node) -> None:
        """Let a node be read in the place of the host's own attention, and delete that with its parameters."""
        self._current[site.target].replace_all_uses_with(node)
        self._keep_from_change(node)
        self._current[site.target] = node
        self._taken_out[site.target] = site.replaces_from
        start, end = self._traced.node(site.replaces_from), self._traced.node(site.target)
        for inside in reversed(region(self._traced, start, end)):
            gone = self._original[inside.name]
            self._graph.erase_node(gone)
            if gone.op == "call_module":
                self._network.delete_submodule(str(gone.target))
            elif gone.op == "get_attr":
                owner, _, attribute = str(gone.target).rpartition(".")
                delattr(self._network.get_submodule(owner), attribute)

    def layout(self) -> Layout:
        """Return where things are."""
        there = set(self._graph.nodes)
        return Layout(
            tuple(Placed(site, spec, path, node.name) for site, spec, path, node in self._placed),
            {name: node.name for name, node in self._current.items() if node in there},
        )

    def finish(self) -> fx.GraphModule:
        """Check the graph and return the network."""
        self._graph.lint()
        self._network.recompile()
        return self._network
