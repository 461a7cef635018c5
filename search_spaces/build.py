"""Building an architecture: the host's graph, edited at the sites.

The host's parameters keep their names, so that pretrained weights load as usual; the modules' parameters stand
under `attention.<site>.<position>`, by the name that the site's tensor is known as.
"""

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import fx, nn

from search_spaces.attention import entry
from search_spaces.fitting import ModuleSpec, build_module
from search_spaces.hosts import HostConfig, build_host, build_host_on_meta
from search_spaces.sites import Site, find_sites
from search_spaces.tracing import trace_host

Placement = tuple[tuple[str, tuple[ModuleSpec, ...]], ...]
"""The occupied sites in network order, each with its modules in order."""


def build(host: HostConfig, placement: Placement, seed: int) -> fx.GraphModule:
    """Build the network on the CPU.

    The host is drawn from `seed` first, then each module from (seed, site): every architecture gets the same
    host weights from the same seed. The global generator is left as it was.
    """
    with _seeded(seed):
        network = build_host(host)
    return _edit(host, network, placement, lambda name: _seeded(_derive(seed, name)))


def build_on_meta(host: HostConfig, placement: Placement) -> fx.GraphModule:
    """Build the network without data (meta device), for counting."""
    return _edit(host, build_host_on_meta(host), placement, lambda _: torch.device("meta"))


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
) -> fx.GraphModule:
    """Place the modules, each built inside `context(<site>#<position>)`."""
    editor = _Editor(network, trace_host(host).graph)
    sites = {site.name: site for site in find_sites(host)}
    num_placed: Counter[str] = Counter()
    for name, specs in placement:
        known_as = sites[name].known_as
        for spec in specs:
            with context(f"{known_as}#{num_placed[known_as]}"):
                editor.place(sites[name], num_placed[known_as], spec)
            num_placed[known_as] += 1
    return editor.finish()


class _Editor:
    """Edits a copy of a host's graph, in network order, so that a bridge reads what earlier edits made."""

    def __init__(self, host: nn.Module, graph: fx.Graph) -> None:
        self._network = fx.GraphModule(host, copy.deepcopy(graph))
        nodes = {node.name: node for node in self._network.graph.nodes}
        self._current: dict[str, fx.Node] = nodes
        """From the name of a node of the host to the node that now stands for it."""
        self._shared: dict[str, str] = {}

    def place(self, site: Site, position: int, spec: ModuleSpec) -> None:
        """Put a module at a site, after what stands there already."""
        target = self._current[site.target]
        kind = entry(spec.module).kind
        if kind == "weights":
            self._replace_conv(site, target, spec)
            return
        path = self._add_module(site, position, spec)
        if kind == "merge":
            self._replace_merge(site, target, path)
            return
        sources = ([self._current[source.node] for source in site.sources],) if kind == "bridge" else ()
        with self._network.graph.inserting_after(target):
            node = self._network.graph.call_module(path, (target, *sources))
        target.replace_all_uses_with(node, delete_user_cb=lambda user: user is not node)
        self._current[site.target] = node

    def _add_module(self, site: Site, position: int, spec: ModuleSpec) -> str:
        if spec.share and spec.share in self._shared:
            return self._shared[spec.share]
        path = f"attention.{site.known_as.replace('.', '_').replace('/', '__')}.{position}"
        self._network.add_submodule(path, build_module(site, spec))
        if spec.share:
            self._shared[spec.share] = path
        return path

    def _replace_conv(self, site: Site, target: fx.Node, spec: ModuleSpec) -> None:
        path = str(target.target)
        conv = self._network.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        module = build_module(site, spec, conv)
        assert getattr(module, "weight", None) is conv.weight, f"{spec.module} must keep the convolution's `weight`"
        self._network.set_submodule(path, module)

    def _replace_merge(self, site: Site, target: fx.Node, path: str) -> None:
        branch, shortcut = target.args if site.branch_operand == 0 else target.args[::-1]
        with self._network.graph.inserting_after(target):
            node = self._network.graph.call_module(path, (branch, shortcut))
        target.replace_all_uses_with(node)
        self._network.graph.erase_node(target)
        self._current[site.target] = node

    def finish(self) -> fx.GraphModule:
        """Check the graph and return the network."""
        self._network.graph.lint()
        self._network.recompile()
        return self._network
