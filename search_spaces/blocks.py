"""The blocks and stages of a traced host, found from its graph.

A block is an instance of a module class in which somewhere a residual addition stands (so the strided blocks of
MobileNet, which add nothing, are blocks too). A stage is a maximal run of blocks at one output resolution.
"""

import operator
from dataclasses import dataclass

import torch
from torch import fx
from torchvision.ops import StochasticDepth

from search_spaces.tracing import HostGraph, is_feature_map

_ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}


@dataclass(frozen=True)
class Merge:
    """A residual addition."""

    node: fx.Node
    branch: fx.Node
    """The operand with more convolutions since the fork."""
    shortcut: fx.Node


@dataclass(frozen=True)
class Block:
    """One block of a host."""

    path: str
    input: fx.Node
    """What the main path starts from: the output of the block before, or of the stem."""
    convs: tuple[fx.Node, ...]
    """The convolutions of the main path, in order."""
    after_convs: tuple[fx.Node, ...]
    """Per inner convolution (all but the last) its output after norm and activation."""
    merge: Merge | None
    branch: fx.Node | None
    """The end of the residual branch, before stochastic depth; None without a merge."""
    out: fx.Node
    """The block's output, after the merge and its activation."""

    @property
    def last(self) -> fx.Node:
        """The block's last features before the merge: those of its last convolution, after their norm."""
        return self.branch or self.out


@dataclass(frozen=True)
class Stage:
    """A maximal run of blocks at one output resolution."""

    name: str
    blocks: tuple[Block, ...]


def find_stages(host: HostGraph) -> tuple[Stage, ...]:
    """Return the stages of a host in network order; empty if it has no residual addition."""
    runs: list[list[Block]] = []
    resolution = None
    for block in find_blocks(host):
        if host.shapes[block.out][1:] != resolution:
            runs.append([])
            resolution = host.shapes[block.out][1:]
        runs[-1].append(block)
    paths = [block.path for run in runs for block in run]
    return tuple(Stage(_stage_name([block.path for block in run], paths), tuple(run)) for run in runs)


def _stage_name(run: list[str], paths: list[str]) -> str:
    """Return the innermost container that holds exactly the blocks of the run, else the path of its last block."""
    parts = run[-1].split(".")
    for length in range(len(parts) - 1, 0, -1):
        container = ".".join(parts[:length])
        if [path for path in paths if path.startswith(f"{container}.")] == run:
            return container
    return run[-1]


def find_blocks(host: HostGraph) -> list[Block]:
    """Return the blocks of a host in network order."""
    merges: dict[str, Merge] = {}
    for node in host.graph.nodes:
        merge = _as_merge(host, node)
        owner = list(host.owners(node))[-1:]
        if merge and owner:
            merges[owner[0]] = merge
    classes = {type(host.submodule(path)) for path in merges}
    nodes: dict[str, list[fx.Node]] = {}
    for node in host.graph.nodes:
        for path in host.owners(node):
            if type(host.submodule(path)) in classes:
                nodes.setdefault(path, []).append(node)
    blocks = [_block(host, path, inside, merges.get(path)) for path, inside in nodes.items()]
    return [block for block in blocks if block.convs and is_feature_map(host.shapes.get(block.out))]


def _as_merge(host: HostGraph, node: fx.Node) -> Merge | None:
    """Return the node as a residual addition: two equal feature maps, one with more convolutions since the fork."""
    if node.op not in ("call_function", "call_method") or node.target not in _ADDITIONS or len(node.args) != 2:
        return None
    first, second = node.args
    if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)):
        return None
    if not is_feature_map(host.shapes.get(first)) or host.shapes[first] != host.shapes.get(second):
        return None
    common = host.ancestors[first] & host.ancestors[second]
    counts = [host.num_convs(host.ancestors[operand] & ~common) for operand in (first, second)]
    if counts[0] == counts[1]:
        return None
    return Merge(node, first, second) if counts[0] > counts[1] else Merge(node, second, first)


def _block(host: HostGraph, path: str, inside: list[fx.Node], merge: Merge | None) -> Block:
    members = set(inside)
    out = [node for node in inside if any(user not in members for user in node.users)][-1]
    branch = _before_stochastic_depth(host, merge.branch) if merge else None
    path_nodes = _main_path(host, branch or out, members)
    convs = [i for i, node in enumerate(path_nodes) if host.is_conv(node)]
    return Block(
        path=path,
        input=path_nodes[0].all_input_nodes[0],
        convs=tuple(path_nodes[i] for i in convs),
        after_convs=tuple(_after_norm_and_activation(host, path_nodes, i) for i in convs[:-1]),
        merge=merge,
        branch=branch,
        out=out,
    )


def _before_stochastic_depth(host: HostGraph, node: fx.Node) -> fx.Node:
    while isinstance(host.module(node), StochasticDepth):
        node = node.all_input_nodes[0]
    return node


def _main_path(host: HostGraph, end: fx.Node, members: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes from the block's input to `end` along what is refined, not along what refines it.

    In `x * attention(x)` the attention depends on x, so x is the main path, and the convolutions of the host's
    own attention are not on it.
    """
    path = [end]
    while parents := [node for node in path[-1].all_input_nodes if node in members]:
        mains = [node for node in parents if all(host.depends_on(other, node) for other in parents)]
        if not mains:
            break
        path.append(mains[0])
    return path[::-1]


def _after_norm_and_activation(host: HostGraph, path: list[fx.Node], start: int) -> fx.Node:
    end = start
    while end + 1 < len(path) and host.is_norm_or_activation(path[end + 1]):
        end += 1
    return path[end]
