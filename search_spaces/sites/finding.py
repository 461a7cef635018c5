"""Sites: the named places in a host where attention may go, found in its graph."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from torch import fx, nn

from search_spaces.attention import ConvGeometry
from search_spaces.errors import InputError
from search_spaces.graphs.blocks import Block
from search_spaces.graphs.merges import Meeting, Merge
from search_spaces.graphs.own_attention import region
from search_spaces.graphs.stages import Stage, find_structure
from search_spaces.graphs.tracing import HostGraph
from search_spaces.hosts import SHORTHANDS, HostConfig, host_entry
from search_spaces.networks import trace_host
from search_spaces.sites.pyramid_sites import pyramid_sites
from search_spaces.sites.site_type import Site, Source, source_of

Thing = TypeVar("Thing")

_REFINED = ("after_conv", "concat", "branch", "out", "end")
"""Places whose modules refine the tensor there; of two names of one tensor, it is known by that of the later."""


def find_sites(host: HostConfig | str) -> tuple[Site, ...]:
    """Return every site of a host (or of the host of that name, with its defaults) in network order.

    Raises:
        InputError: an unknown host, one that cannot read images of its configured size, or one without sites.
    """
    if isinstance(host, str):
        host = HostConfig(name=host if host in SHORTHANDS else host_entry(host).name)
    return _find_sites(host)


@lru_cache(maxsize=64)
def _find_sites(host: HostConfig) -> tuple[Site, ...]:
    graph = trace_host(host)
    sites = sites_of_graph(graph)
    if not sites:
        raise InputError(
            f"{host.name} has no sites of these kinds (conv1, after_conv1, branch, merge, out, end, ...): no block of "
            "convolutions was found in it, as in a vision transformer; take a convolutional network"
        )
    return (*sites, *(pyramid_sites(graph, sites) if host.neck else ()))


def sites_of_graph(graph: HostGraph) -> tuple[Site, ...]:
    """Return every site of a traced host in network order."""
    stages, meetings = find_structure(graph)
    sites = [site for stage in stages for site in _sites_of_stage(graph, stage, stages)]
    for site in _sites_between(graph, stages, meetings):
        # Before the stage's end where that is the same tensor.
        here = (_position(graph, site), True)
        earlier = [i for i, each in enumerate(sites) if (_position(graph, each), each.place == "end") < here]
        sites.insert(earlier[-1] + 1, site)
    return tuple(_with_names(graph, sites))


def _with_names(graph: HostGraph, sites: Sequence[Site]) -> Iterator[Site]:
    """Yield the sites with the names by which their tensors are known."""
    known_as = {site.target: site.name for site in sites if site.place_kind in _REFINED}
    for site in sites:
        if site.place_kind in _REFINED:
            yield replace(site, known_as=known_as[site.target])
        elif site.replaces_from:
            start, end = graph.node(site.replaces_from), graph.node(site.target)
            alone = set(region(graph, start, end)).issuperset(start.users)
            before = known_as.get(site.replaces_from, "") if alone else ""
            yield replace(site, same_before=before, same_after=known_as.get(site.target, ""))
        else:
            yield site


def _position(graph: HostGraph, site: Site) -> int:
    return graph.position(graph.node(site.target))


def _sites_of_stage(graph: HostGraph, stage: Stage, stages: Sequence[Stage]) -> Iterator[Site]:
    before = [block for each in stages[: stages.index(stage)] for block in each.blocks]
    for block in stage.blocks:
        conv, end = _previous(graph, block, before)
        yield from (
            replace(site, previous_conv=conv, previous_end=end) for site in _sites_of_block(graph, stage, block)
        )
        before.append(block)
    if stage.drops:
        yield _site(graph, f"{stage.name}/end", stage, stage.blocks[-1].path, stage.end)


def _sites_of_block(graph: HostGraph, stage: Stage, block: Block) -> list[Site]:
    """Return the sites of one block in the order in which their tensors are computed."""

    def site(place: str, node: fx.Node) -> Site:
        return _site(graph, f"{block.path}/{place}", stage, block.path, node)

    found = []
    for i, (conv, after) in enumerate(zip(block.convs, block.after_convs, strict=True)):
        if geometry := _geometry(graph, conv):
            found.append(replace(site(f"conv{i + 1}", conv), conv=geometry))
        if after:
            found.append(replace(site(f"after_conv{i + 1}", after), sources=_sources(graph, block, after)))
    for place, own in _numbered("own", block.own):
        sources = _sources(graph, block, own.input)
        found.append(replace(site(place, own.output), replaces_from=own.input.name, sources=sources))
    for place, meeting in _numbered("concat", block.meetings):
        found.append(replace(site(place, meeting.node), branch_operand=_branch_operand(meeting)))
    for place, node in _numbered("branch", block.branches):
        found.append(replace(site(place, node), sources=_sources(graph, block, node)))
    for place, merge in _numbered("merge", block.merges):
        found.append(replace(site(place, merge.node), branch_operand=_branch_operand(merge)))
    return [*sorted(found, key=lambda each: _position(graph, each)), site("out", block.out)]


def _numbered(place: str, things: Sequence[Thing]) -> Iterator[tuple[str, Thing]]:
    """Yield things with the names of their places, which have numbers where there are several."""
    for number, thing in enumerate(things, 1):
        yield (place if len(things) == 1 else f"{place}{number}"), thing


def _geometry(graph: HostGraph, conv: fx.Node) -> ConvGeometry | None:
    """Return what a module that stands for a convolution must know; None if the convolution does more than that.

    timm has convolutions that pad their input or normalise their weights themselves.
    """
    module = graph.module(conv)
    assert isinstance(module, nn.Conv2d)
    plain = type(module).forward is nn.Conv2d.forward and module.padding_mode == "zeros"
    return ConvGeometry.of(module) if plain else None


def _sources(graph: HostGraph, block: Block, node: fx.Node) -> tuple[Source, ...]:
    """Return the outputs of a block's convolutions that a tensor is computed from."""
    earlier = (each for each in block.after_convs if each and each is not node and graph.depends_on(node, each))
    return tuple(source_of(graph, each.name) for each in earlier)


def _branch_operand(sum_or_concatenation: Merge | Meeting) -> int | None:
    branch = sum_or_concatenation.branch
    return None if branch is None else sum_or_concatenation.node.args.index(branch)


def _previous(graph: HostGraph, block: Block, before: Sequence[Block]) -> tuple[Source | None, Source | None]:
    """Return what a bridge may read of the block before, the latest that the block's input is computed from.

    Its last convolution, and the block's input; nothing where that is the image.
    """
    if block.input is None:
        return None, None
    previous = next((each for each in reversed(before) if graph.depends_on(block.input, each.out)), None)
    conv = previous.last if previous else block.input
    return source_of(graph, conv.name), source_of(graph, block.input.name)


def _sites_between(graph: HostGraph, stages: Sequence[Stage], meetings: Sequence[Meeting]) -> Iterator[Site]:
    """Yield the sums and concatenations between blocks: that of a dense block, those of HRNet's modules.

    They belong to the stage of the latest block at their resolution that they are computed from.
    """
    by_owner: dict[str, list[Meeting]] = {}
    for meeting in meetings:
        if owner := ([*graph.owners(meeting.node)] or [""])[-1]:
            by_owner.setdefault(owner, []).append(meeting)
    for owner, members in by_owner.items():
        for place, meeting in _numbered("concat", members):
            if stage := _stage_of(graph, stages, meeting.node):
                site = _site(graph, f"{owner}/{place}", stage, owner, meeting.node)
                yield replace(site, branch_operand=_branch_operand(meeting))


def _stage_of(graph: HostGraph, stages: Sequence[Stage], node: fx.Node) -> Stage | None:
    earlier = [stage for stage in stages if any(graph.depends_on(node, block.out) for block in stage.blocks)]
    alike = [stage for stage in earlier if graph.shapes[stage.end][1:] == graph.shapes[node][1:]]
    return next(reversed(alike or earlier), None)


def _site(graph: HostGraph, name: str, stage: Stage, block: str, node: fx.Node) -> Site:
    tensor = source_of(graph, node.name)
    return Site(
        name=name,
        place=name.rpartition("/")[2],
        block=block,
        stage=stage.name,
        channels=tensor.channels,
        resolution=tensor.resolution,
        target=node.name,
        known_as=name,
    )
