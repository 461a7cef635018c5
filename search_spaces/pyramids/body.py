"""A host without its classifier: its traced graph, cut at the ends of its stages."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, fx, nn

from search_spaces.graphs.tracing import HostGraph


class Body(nn.Module):
    """What a host computes up to the ends of its stages, (N, C, H, W) -> {"0": the finest, "1": ...}.

    It has the host's own modules under their own names, those only that the ends depend on. Traced with torch.fx, its
    nodes say as in the host's own trace in whose forward they stand, so that blocks and stages are found as there.
    """

    def __init__(self, host: nn.Module, graph: HostGraph, ends: Sequence[fx.Node]) -> None:
        super().__init__()
        self._modules.update(host._modules)
        self._parameters.update(host._parameters)
        self._buffers.update(host._buffers)
        self._non_persistent_buffers_set.update(host._non_persistent_buffers_set)
        self._cut = _cut(graph, ends)
        _leave_out_unused(self, "", _used(self._cut.nodes))
        _keep_as_they_are(self, self._cut)
        self.train(host.training)

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = _Runner(self, graph=self._cut).run(x_BCHW)
        return maps


class _Runner(fx.Interpreter):
    """Runs a cut graph; where it runs on proxies, the new nodes keep in whose forward the old ones stand."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, fx.Proxy) and n.op != "placeholder":
            tracer: Any = result.tracer
            path = next(reversed(tracer.module_stack.values()))[0]
            stack = {key: (f"{path}.{inside}", kind) for key, (inside, kind) in _stack_of(n).items() if inside}
            result.node.meta["nn_module_stack"] = {**tracer.module_stack, **stack}
        return result


def _stack_of(node: fx.Node) -> dict[str, Any]:
    stack: dict[str, Any] = node.meta.get("nn_module_stack", {})
    return stack


def _cut(graph: HostGraph, ends: Sequence[fx.Node]) -> fx.Graph:
    """Return the part of a graph that ends depend on."""
    needed = 0
    for end in ends:
        needed |= graph.ancestors[end]
    cut = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for i, node in enumerate(graph.graph.nodes):
        if needed >> i & 1:
            copies[node] = cut.node_copy(node, copies.__getitem__)
    cut.output({str(level): copies[end] for level, end in enumerate(ends)})
    return cut


def _used(nodes: Iterable[fx.Node]) -> set[str]:
    """Return the paths of the modules and parameters that nodes name."""
    return {str(node.target) for node in nodes if node.op in ("call_module", "get_attr")}


def _leave_out_unused(module: nn.Module, prefix: str, used: set[str]) -> None:
    for name, child in list(module._modules.items()):
        path = prefix + name
        if path in used:
            continue
        if child is not None and any(target.startswith(f"{path}.") for target in used):
            _leave_out_unused(child, f"{path}.", used)
        else:
            del module._modules[name]
    for name in list(module._parameters):
        if prefix + name not in used:
            del module._parameters[name]


def _keep_as_they_are(body: nn.Module, cut: fx.Graph) -> None:
    """Let no module overwrite what the pyramid reads too."""
    *_, output = cut.nodes
    for end in output.all_input_nodes:
        for user in end.users:
            module = body.get_submodule(str(user.target)) if user.op == "call_module" else None
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[union-attr]  # None has no `inplace`


def freeze_up_to(host: nn.Module, graph: HostGraph, end: fx.Node) -> None:
    """Let no parameter be trained that a node of the host depends on."""
    bits = graph.ancestors[end]
    for path in _used(node for i, node in enumerate(graph.graph.nodes) if bits >> i & 1):
        parent, _, name = path.rpartition(".")
        owner = host.get_submodule(parent)
        found = owner._modules.get(name) or owner._parameters.get(name)
        if found is not None:
            found.requires_grad_(False)
