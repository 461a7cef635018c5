"""How many tensor elements an architecture computes with for one image, counted without training.

MACs say nothing of element-wise work and little of memory, which is where attention costs most. As MACs, these are
those of the host and of each module where it stands, counted once on the meta device.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from search_spaces.architecture import Architecture
from search_spaces.attention import entry
from search_spaces.cost import own_attention
from search_spaces.fitting import ModuleSpec, bridged, conv_at, meta_inputs, module_on_meta
from search_spaces.graphs.tracing import Shape
from search_spaces.hosts import HostConfig
from search_spaces.networks import trace_host
from search_spaces.sites import find_sites
from search_spaces.sites.site_type import Site, Source

_aten = torch.ops.aten
_PRODUCTS = {_aten.convolution, _aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm}


@dataclass(frozen=True)
class Activations:
    """Elements of tensors in a forward pass of one image."""

    written: int
    """What all operations write, views left out: a measure of element-wise work."""
    kept: int
    """What convolutions and matrix products read, weights left out: their backward pass cannot do without it."""

    def __add__(self, other: "Activations") -> "Activations":
        return Activations(self.written + other.written, self.kept + other.kept)

    def __sub__(self, other: "Activations") -> "Activations":
        return Activations(self.written - other.written, self.kept - other.kept)


def measure_activations(architecture: Architecture) -> Activations:
    """Return the elements of an architecture: of its host (of a detector, the body) and of each module where it stands.

    What a module reads is counted with the host, so that `kept` is never too much.
    """
    host = architecture.host
    sites = {site.name: site for site in find_sites(host)}
    total = _of_host(host)
    for name, specs in architecture.items:
        site = sites[name]
        if site.replaces_from:
            total -= _of_own_attention(host, site.replaces_from, site.target)
        for spec in specs:
            total += _of_module(host, site, spec)
    return total


@lru_cache(maxsize=64)
def _of_host(host: HostConfig) -> Activations:
    return _count(trace_host(host).root, torch.empty(1, host.channels, host.input, host.input, device="meta"))


@lru_cache(maxsize=10_000)
def _of_own_attention(host: HostConfig, start: str, end: str) -> Activations:
    return _count(*own_attention(host, start, end))


@lru_cache(maxsize=10_000)
def _of_module(host: HostConfig, site: Site, spec: ModuleSpec) -> Activations:
    module, kind = module_on_meta(host, site, spec), entry(spec.module).kind
    if kind == "removal":  # it has a forward pass of its own, but none in the network
        return Activations(0, 0)
    if kind != "weights":
        return _count(module, *meta_inputs(kind, _image(site), [_image(source) for source in bridged(site, spec)]))
    graph, conv = trace_host(host), conv_at(host, site)
    assert conv is not None
    image = torch.empty(1, *graph.shapes[graph.node(site.target).all_input_nodes[0]], device="meta")
    return _count(module, image) - _count(conv, image)


def _image(tensor: Site | Source) -> Shape:
    return (1, tensor.channels, *tensor.resolution)


def _count(module: nn.Module, *inputs: Any) -> Activations:
    """Count one forward pass in eval mode; inputs have batch 1."""
    was_training = module.training
    given = [*module.parameters(), *module.buffers(), *(each for each in tree_leaves(inputs) if each is not None)]
    with torch.no_grad(), _Counter(given) as counter:
        module.eval()(*inputs)
    module.train(was_training)
    return Activations(counter.written, sum(counter.kept.values()))


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, given: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.written = 0
        self.kept: dict[int, int] = {}
        """From each storage to its elements."""
        self._given = {_storage(tensor) for tensor in given}
        self._alive: list[Tensor] = []  # so that no storage takes the place of another one

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor, returned in zip(tree_leaves(result), func._schema.returns, strict=False):
            is_view = returned.alias_info is not None and not returned.alias_info.is_write
            if isinstance(tensor, Tensor) and not is_view:
                self.written += tensor.numel()
        if func.overloadpacket in _PRODUCTS:
            for tensor in tree_leaves(args):
                if isinstance(tensor, Tensor) and _storage(tensor) not in self._given:
                    self._alive.append(tensor)
                    self.kept[_storage(tensor)] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return result


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
