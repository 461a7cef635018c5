"""The stages of a traced host: maximal runs of blocks at one output resolution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from search_spaces.graphs.block_paths import find_parts
from search_spaces.graphs.blocks import Block, BlockFinder
from search_spaces.graphs.maps import find_maps
from search_spaces.graphs.merges import Meeting, find_merges
from search_spaces.graphs.own_attention import find_own, find_weighing, region
from search_spaces.graphs.tracing import HostGraph


@dataclass(frozen=True)
class Stage:
    """A maximal run of blocks at one output resolution."""

    name: str
    blocks: tuple[Block, ...]
    end: fx.Node
    """The output of its last block, or of the container that holds exactly its blocks (DenseNet concatenates
    there)."""
    drops: bool
    """Whether a later block computes something of lower resolution from `end`."""


def find_stages(host: HostGraph) -> tuple[Stage, ...]:
    """Return the stages of a host in network order; empty if it has no blocks."""
    return find_structure(host)[0]


def find_structure(host: HostGraph) -> tuple[tuple[Stage, ...], tuple[Meeting, ...]]:
    """Return the stages of a host in network order, and the sums and concatenations in none of their blocks."""
    maps = find_maps(host)
    own = find_own(host, maps)
    weighing = find_weighing(host)
    hidden = weighing | host.bits(node for each in own for node in region(host, each.input, each.output))
    merges, meetings = find_merges(host, maps, hidden)
    convs = [
        node
        for i, node in enumerate(host.graph.nodes)
        if host.is_conv(node) and node in maps and not hidden >> i & 1 and str(node.target).startswith(host.prefix)
    ]
    finder = BlockFinder(host, maps, own, merges, meetings, frozenset(convs))
    found = (finder.block(part) for part in find_parts(host, convs, merges, meetings))
    blocks = [block for block in found if block]
    within = {meeting.node for block in blocks for meeting in block.meetings}
    return _stages(host, maps, blocks), tuple(each for each in meetings if each.node not in within)


def _stages(host: HostGraph, maps: frozenset[fx.Node], blocks: Sequence[Block]) -> tuple[Stage, ...]:
    runs: list[list[Block]] = []
    resolution = None
    for block in blocks:
        if host.shapes[block.out][1:] != resolution:
            runs.append([])
            resolution = host.shapes[block.out][1:]
        runs[-1].append(block)
    paths = [block.path for block in blocks]
    stages = []
    for number, run in enumerate(runs):
        containers = _containers([block.path for block in run], paths)
        if not containers and run[0].leads:
            containers = _containers([block.path for block in run[1:]], paths)
        end = _end_of(host, maps, containers[0], run[-1]) if containers else run[-1].out
        later = [block.out for each in runs[number + 1 :] for block in each]
        drops = any(_area(host, out) < _area(host, end) and host.depends_on(out, end) for out in later)
        name = containers[-1] if containers else run[-1].path
        stages.append(Stage(name, tuple(run), end, drops))
    return tuple(stages)


def _area(host: HostGraph, node: fx.Node) -> int:
    return math.prod(host.shapes[node][1:])


def _containers(run: list[str], paths: list[str]) -> list[str]:
    """Return the containers that hold exactly the blocks of the run, the outermost first."""
    parts = run[-1].split(".") if run else []
    containers = [".".join(parts[:length]) for length in range(1, len(parts))]
    return [each for each in containers if [path for path in paths if path.startswith(f"{each}.")] == run]


def _end_of(host: HostGraph, maps: frozenset[fx.Node], container: str, last: Block) -> fx.Node:
    """Return the output of a container, if that is a map of the resolution of its last block."""
    inside = {node for node in host.graph.nodes if container in host.owners(node)}
    outputs = [node for node in inside if node in maps and any(user not in inside for user in node.users)]
    after: list[fx.Node] = [node for node in outputs if host.depends_on(node, last.out)]
    if len(after) != 1 or host.shapes[after[0]][1:] != host.shapes[last.out][1:]:
        return last.out
    return after[0]
