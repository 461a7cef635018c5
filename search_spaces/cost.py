"""What an architecture costs, counted without training: parameters and multiply-accumulates.

MACs are those of convolutions and matrix products at batch 1 (torch's flop counter / 2). Pooling and element-wise
work does not count; it shows in the measured latency only.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.architecture import Architecture
from search_spaces.attention import create, entry
from search_spaces.fitting import ModuleSpec, module_on_meta
from search_spaces.hosts import HostConfig
from search_spaces.sites import Site, find_sites
from search_spaces.tracing import trace_host


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates (convolutions and matrix products, batch 1)."""

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.params - other.params, self.macs - other.macs)


def measure_cost(architecture: Architecture) -> Cost:
    """Return the cost of an architecture: that of its host and of each module where it stands."""
    sites = {site.name: site for site in find_sites(architecture.host)}
    total = host_cost(architecture.host)
    shared: set[str] = set()
    for name, specs in architecture.items:
        for spec in specs:
            cost = site_cost(architecture.host, sites[name], spec)
            total += Cost(0, cost.macs) if spec.share in shared else cost
            shared |= {spec.share} if spec.share else set()
    return total


@lru_cache(maxsize=64)
def host_cost(host: HostConfig) -> Cost:
    """Return the cost of the bare host."""
    return count_cost(
        trace_host(host).root, torch.empty(1, host.channels, host.input, host.input, device="meta")
    )


@lru_cache(maxsize=100_000)
def site_cost(host: HostConfig, site: Site, spec: ModuleSpec) -> Cost:
    """Return what a module at a site adds to the cost of the host."""
    module = module_on_meta(host, site, spec)
    x = torch.empty(1, site.channels, *site.resolution, device="meta")
    kind = entry(spec.module).kind
    if kind == "weights":
        graph = trace_host(host)
        node = graph.node(site.target)
        conv = graph.module(node)
        assert conv is not None
        image = torch.empty(1, *graph.shapes[node.all_input_nodes[0]], device="meta")
        return count_cost(module, image) - count_cost(conv, image)
    if kind == "merge":
        return count_cost(module, x, x)
    if kind == "bridge":
        return count_cost(
            module, x, [torch.empty(1, s.channels, *s.resolution, device="meta") for s in site.sources]
        )
    return count_cost(module, x)


def count_cost(module: nn.Module, *inputs: object) -> Cost:
    """Count a module's parameters and the MACs of one forward pass in eval mode; the inputs have batch 1."""
    was_training = module.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(*inputs)
    module.train(was_training)
    return Cost(_num_params(module), counter.get_total_flops() // 2)


def typical_params(module: str, channels: int) -> int:
    """Return the parameters of a module with its paper's knobs at a typical site of that width.

    A bridge reads two convolutions of a quarter of the width, as in a bottleneck block; a module of kind `weights`
    stands for a 3x3 convolution from `channels` to `channels`, and what it adds to that is counted.
    """
    kind = entry(module).kind
    with torch.device("meta"):
        if kind == "weights":
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            return _num_params(create(module, conv=conv)) - _num_params(conv)
        bridged = {"source_channels": (channels // 4, channels // 4)} if kind == "bridge" else {}
        return _num_params(create(module, channels=channels, **bridged))


def _num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
