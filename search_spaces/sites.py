"""Sites: the named places in a host where attention may go, found in its graph."""

from dataclasses import replace
from functools import lru_cache

from torch import nn

from search_spaces.attention import ConvGeometry
from search_spaces.blocks import Block, Stage, find_stages
from search_spaces.hosts import HostConfig, host_entry
from search_spaces.networks import trace_host
from search_spaces.pyramid_sites import pyramid_sites
from search_spaces.site_type import Site, Source, source_of
from search_spaces.tracing import HostGraph


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
    return (*sites, *(pyramid_sites(graph) if host.neck else ()))


def _sites_of_block(graph: HostGraph, stage: Stage, block: Block, previous: Block | None) -> list[Site]:
    """Return the sites of one block in the order in which their tensors are computed."""
    sources = tuple(source_of(graph, node.name) for node in block.after_convs)
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
    previous_conv = source_of(graph, (previous.last if previous else block.input).name)
    previous_end = source_of(graph, block.input.name)
    return [replace(site, previous_conv=previous_conv, previous_end=previous_end) for site in sites]


def _site(
    graph: HostGraph, name: str, stage: Stage, block: Block, target: str, sources: tuple[Source, ...] = ()
) -> Site:
    tensor = source_of(graph, target)
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
