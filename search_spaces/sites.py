"""Sites: the named places in a host where attention may go, found in its graph."""

from dataclasses import dataclass, replace
from functools import lru_cache

from torch import nn

from search_spaces.attention import ConvGeometry
from search_spaces.blocks import Block, Stage, find_stages
from search_spaces.hosts import HostConfig, host_entry
from search_spaces.networks import trace_host
from search_spaces.tracing import HostGraph


@dataclass(frozen=True)
class Source:
    """A tensor that a bridge at a site may read."""

    node: str
    """Its name in the host's graph."""
    channels: int
    resolution: tuple[int, int]
    """Height and width at the host's input size, in pixels."""


@dataclass(frozen=True)
class Site:
    """A place where attention may go; `name` is `<path in the host>/<place>`."""

    name: str
    place: str
    """`conv1`, `after_conv1`, ..., `branch`, `merge`, `out` or `end`."""
    block: str
    """Path of the block it belongs to (of the stage's last block for `end`)."""
    stage: str
    channels: int
    resolution: tuple[int, int]
    """Height and width at the host's input size, in pixels."""
    target: str
    """The name in the host's graph of the node that is refined or replaced."""
    sources: tuple[Source, ...] = ()
    """The block's earlier convolution outputs."""
    previous_conv: Source | None = None
    """The last convolution's output of the block before (after its norm, before its attention), also across
    a stage's border; at the first block, the stem's output."""
    previous_end: Source | None = None
    """The output of the block before, which is the block's input."""
    conv: ConvGeometry | None = None
    """The convolution that stands at a `conv<i>`."""
    branch_operand: int = 0
    """At a merge: which operand of the addition is the branch, 0 or 1."""
    known_as: str = ""
    """The site by whose name the tensor is known: a stage's `end` is also the `out` of its last block."""

    @property
    def place_kind(self) -> str:
        """The place without its number: `conv`, `after_conv`, `branch`, ..."""
        return self.place.rstrip("0123456789")


def find_sites(host: HostConfig | str) -> tuple[Site, ...]:
    """Return every site of a host (or of the host of that name, with its defaults) in network order.

    Raises:
        InputError: an unknown host, or one that cannot read images of its configured size.
    """
    return _find_sites(HostConfig(name=host_entry(host).name) if isinstance(host, str) else host)


@lru_cache(maxsize=64)
def _find_sites(host: HostConfig) -> tuple[Site, ...]:
    graph = trace_host(host)
    stages = find_stages(graph)
    sites: list[Site] = []
    previous: Block | None = None
    for stage in stages:
        for block in stage.blocks:
            sites += _sites_of_block(graph, stage, block, previous)
            previous = block
        if stage is not stages[-1]:
            last = stage.blocks[-1]
            end = _site(graph, f"{stage.name}/end", stage, last, last.out.name)
            sites[-1] = replace(sites[-1], known_as=end.name)
            sites.append(end)
    return tuple(sites)


def _sites_of_block(graph: HostGraph, stage: Stage, block: Block, previous: Block | None) -> list[Site]:
    """Return the sites of one block in the order in which their tensors are computed."""
    sources = tuple(_source(graph, node.name) for node in block.after_convs)
    sites = []
    for i, conv in enumerate(block.convs):
        site = _site(graph, f"{block.path}/conv{i + 1}", stage, block, conv.name)
        module = graph.module(conv)
        assert isinstance(module, nn.Conv2d)
        sites.append(replace(site, conv=ConvGeometry.of(module)))
        if i < len(block.after_convs):
            name = f"{block.path}/after_conv{i + 1}"
            sites.append(_site(graph, name, stage, block, block.after_convs[i].name, sources[:i]))
    if block.merge and block.branch:
        sites.append(_site(graph, f"{block.path}/branch", stage, block, block.branch.name, sources))
        merge = _site(graph, f"{block.path}/merge", stage, block, block.merge.node.name)
        sites.append(replace(merge, branch_operand=block.merge.node.args.index(block.merge.branch)))
    sites.append(_site(graph, f"{block.path}/out", stage, block, block.out.name))
    previous_conv = _source(graph, (previous.last if previous else block.input).name)
    previous_end = _source(graph, block.input.name)
    return [replace(site, previous_conv=previous_conv, previous_end=previous_end) for site in sites]


def _site(
    graph: HostGraph, name: str, stage: Stage, block: Block, target: str, sources: tuple[Source, ...] = ()
) -> Site:
    tensor = _source(graph, target)
    place = name.rpartition("/")[2]
    return Site(
        name=name,
        place=place,
        block=block.path,
        stage=stage.name,
        channels=tensor.channels,
        resolution=tensor.resolution,
        target=target,
        sources=sources,
        known_as=name,
    )


def _source(graph: HostGraph, name: str) -> Source:
    channels, height, width = graph.shapes[graph.node(name)]
    return Source(name, channels, (height, width))
