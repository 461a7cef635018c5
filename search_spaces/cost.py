"""What an architecture costs, counted without training: parameters and multiply-accumulates.

MACs are those of convolutions and matrix products at batch 1 (torch's flop counter / 2). Pooling and element-wise
work do not count; they show in the measured latency only.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn

from search_spaces.architecture import Architecture
from search_spaces.attention import create, entry
from search_spaces.fitting import ModuleSpec, bridged, conv_at, meta_inputs, module_on_meta, spec_on_meta
from search_spaces.graphs.own_attention import region
from search_spaces.graphs.tracing import Shape
from search_spaces.hosts import DETECTORS, HostConfig
from search_spaces.networks import build_network_on_meta, trace_host
from search_spaces.sites import find_sites
from search_spaces.sites.site_type import Site, Source

TYPICAL = (14, 14)
"""Height and width of a typical map, for modules whose parameters depend on it."""


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates (convolutions and matrix products, batch 1)."""

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.params - other.params, self.macs - other.macs)

    def distance(self, other: "Cost") -> float:
        """Return how far away it is as a share of `other`, in parameters or in MACs, whichever is more."""
        pairs = ((self.params, other.params), (self.macs, other.macs))
        return max(abs(ours - theirs) / max(theirs, 1) for ours, theirs in pairs)


def measure_cost(architecture: Architecture) -> Cost:
    """Return the cost of an architecture: that of its host and of each module where it stands."""
    sites = {site.name: site for site in find_sites(architecture.host)}
    total = host_cost(architecture.host)
    shared: set[str] = set()
    for name, specs in architecture.items:
        total = total - replaced_cost(architecture.host, sites[name])
        for spec in specs:
            cost = _module_cost(architecture.host, sites[name], spec)
            total += Cost(0, cost.macs) if spec.share in shared else cost
            shared |= {spec.share} if spec.share else set()
    return total


@lru_cache(maxsize=64)
def host_cost(host: HostConfig) -> Cost:
    """Return the cost of the host, with neck and head if it has them, without attention."""
    image = torch.empty(1, host.channels, host.input, host.input, device="meta")
    root = trace_host(host).root
    traced = count_cost(root, image)
    if host.head not in DETECTORS:
        return traced
    network = build_network_on_meta(host)
    dense_head = network.get_submodule("rpn.head" if hasattr(network, "rpn") else "head")
    return Cost(_num_params(network), traced.macs + count_cost(dense_head, list(root(image).values())).macs)


def what_macs_leave_out(host: HostConfig) -> str | None:
    """Say what of a network the MACs do not count although it computes convolutions and matrix products."""
    if host.head not in DETECTORS or host.head in ("retinanet", "fcos"):
        return None
    return (
        f"MACs of {host.head}: backbone, pyramid and region proposals on one {host.input}x{host.input} image; the "
        "heads that run once per proposal are left out, since their number depends on the image"
    )


def site_cost(host: HostConfig, site: Site, spec: ModuleSpec) -> Cost:
    """Return what a module at a site adds to the cost of the host: less than nothing where it replaces more."""
    return _module_cost(host, site, spec) - replaced_cost(host, site)


def replaced_cost(host: HostConfig, site: Site) -> Cost:
    """Return the cost of the host's own attention that is replaced at a site; nothing at other places."""
    return _own_cost(host, site.replaces_from, site.target) if site.replaces_from else Cost(0, 0)


@lru_cache(maxsize=10_000)
def _own_cost(host: HostConfig, start: str, end: str) -> Cost:
    return count_cost(*own_attention(host, start, end))


def own_attention(host: HostConfig, start: str, end: str) -> tuple[nn.Module, torch.Tensor]:
    """Return the part of a host between two nodes of its graph as a module of its own, and what it reads."""
    graph = trace_host(host)
    alone = fx.Graph()
    copies = {graph.node(start): alone.placeholder("x")}
    for node in region(graph, graph.node(start), graph.node(end)):
        copies[node] = alone.node_copy(node, copies.__getitem__)
    alone.output(copies[graph.node(end)])
    image = torch.empty(1, *graph.shapes[graph.node(start)], device="meta")
    return fx.GraphModule(graph.root, alone).eval(), image


def _module_cost(host: HostConfig, site: Site, spec: ModuleSpec) -> Cost:
    """Return the cost of a module at a site, beyond that of the convolution that it stands for."""
    if entry(spec.module).kind == "weights":
        return _replacement_cost(host, site, spec)
    return _addition_cost(spec, _image(site), tuple(_image(source) for source in bridged(site, spec)))


def _image(tensor: Site | Source) -> Shape:
    return (1, tensor.channels, *tensor.resolution)


@lru_cache(maxsize=10_000)
def _addition_cost(spec: ModuleSpec, x: Shape, sources: tuple[Shape, ...]) -> Cost:
    """Return the cost of a module that reads images of these shapes; equal sites are counted once."""
    module = spec_on_meta(spec, x[1], tuple(source[1] for source in sources), (x[2], x[3]))
    return count_cost(module, *meta_inputs(entry(spec.module).kind, x, sources))


@lru_cache(maxsize=10_000)
def _replacement_cost(host: HostConfig, site: Site, spec: ModuleSpec) -> Cost:
    graph, conv = trace_host(host), conv_at(host, site)
    assert conv is not None
    shape = graph.shapes[graph.node(site.target).all_input_nodes[0]]
    image = torch.empty(1, *shape, device="meta")
    return count_cost(module_on_meta(host, site, spec), image) - count_cost(conv, image)


def count_cost(module: nn.Module, *inputs: object) -> Cost:
    """Count a module's parameters and the MACs of one forward pass in eval mode; the inputs have batch 1."""
    from torch.utils.flop_counter import FlopCounterMode  # and with it Triton, of which a report needs nothing

    was_training = module.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(*inputs)
    module.train(was_training)
    return Cost(_num_params(module), counter.get_total_flops() // 2)


def typical_params(module: str, channels: int) -> int:
    """Return the parameters of a module with its paper's knobs at a typical site of that width, 14x14 in size.

    A bridge reads two convolutions of a quarter of the width, as in a bottleneck block; a module of kind
    `weights` stands for a 3x3 convolution from `channels` to `channels`, and what it adds to that is counted.
    """
    kind = entry(module).kind
    with torch.device("meta"):
        if kind == "weights":
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            return _num_params(create(module, conv=conv, resolution=TYPICAL)) - _num_params(conv)
        sources = (channels // 4, channels // 4)
        given: dict[str, Any] = {"source_channels": sources} if kind == "bridge" else {}
        return _num_params(create(module, channels=channels, resolution=TYPICAL, **given))


def _num_params(module: nn.Module) -> int:
    """Count the parameters that are trained (the first layers of a pretrained detector are not)."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
