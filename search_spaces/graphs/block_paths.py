"""Which parts of a host are its blocks.

With residual additions, a block is an instance of a module class in which somewhere one stands (so the strided blocks
of MobileNet, which add nothing, are blocks too). Without any, it is the innermost repeated module (DenseNet's layer,
SqueezeNet's Fire, Inception's modules); where no module repeats (VGG), a run of convolutions at one resolution.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import fx, nn

from search_spaces.graphs.merges import Meeting, Merge
from search_spaces.graphs.tracing import HostGraph, is_feature_map


@dataclass(frozen=True)
class Part:
    """A block's path in the host and what stands in it."""

    path: str
    nodes: tuple[fx.Node, ...] = ()
    """The nodes of its module; none for a run, whose nodes follow from its convolutions."""
    run: tuple[fx.Node, ...] = ()
    """The convolutions of a run."""
    leads: bool = False
    """It stands before blocks of its resolution and is none of them: a stem, or a transition of DenseNet."""


def find_parts(
    host: HostGraph, convs: Sequence[fx.Node], merges: Sequence[Merge], meetings: Sequence[Meeting]
) -> list[Part]:
    """Return the blocks of a host in network order.

    Args:
        host: the traced host.
        convs: its convolutions, without those of its own attention.
        merges: its residual additions.
        meetings: its other sums and concatenations.
    """
    modules = _Modules.of(host, convs, meetings)
    owners = [path for merge in merges if (path := modules.owner.get(merge.node))]
    if owners:
        classes = {type(host.submodule(path)) for path in owners}
        paths = _outermost(modules.of_classes(classes))
        paths = modules.ordered(paths + modules.beside(paths))
        return [Part(path, tuple(modules.nodes[path])) for path in paths]
    blocks = modules.like(modules.innermost(""))
    inside = {node for path in blocks for node in modules.nodes[path]}
    first = min(map(host.position, inside), default=None)
    before = [conv for conv in convs if first is None or host.position(conv) < first]
    runs = _runs(host, modules, before, alone=first is None)
    between = modules.transitions(blocks)
    paths = modules.ordered([*blocks, *between])
    return runs + [Part(path, tuple(modules.nodes[path]), leads=path in between) for path in paths]


def _outermost(paths: Sequence[str]) -> list[str]:
    """Return the paths without those within another; one that holds several others side by side is no block."""
    result = []
    for path in paths:
        outer = [other for other in paths if path.startswith(f"{other}.")]
        inner = [other for other in paths if other.startswith(f"{path}.")]
        widest = [other for other in inner if not any(other.startswith(f"{each}.") for each in inner)]
        if len(widest) < 2 and not any(_holds_one(other, paths) for other in outer):
            result.append(path)
    return result


def _holds_one(path: str, paths: Sequence[str]) -> bool:
    inner = [other for other in paths if other.startswith(f"{path}.")]
    return sum(not any(other.startswith(f"{each}.") for each in inner) for other in inner) < 2


@dataclass
class _Modules:
    """The host's modules as a tree of those that hold convolutions."""

    host: HostGraph
    convs: frozenset[fx.Node]
    meetings: frozenset[fx.Node]
    nodes: dict[str, list[fx.Node]] = field(default_factory=dict)
    """By path, in the order of the first node; of the whole host under the empty path."""
    children: dict[str, list[str]] = field(default_factory=dict)
    owner: dict[fx.Node, str] = field(default_factory=dict)
    """The innermost path of each node; nodes of no module of the host have none."""

    @staticmethod
    def of(host: HostGraph, convs: Iterable[fx.Node], meetings: Iterable[Meeting]) -> "_Modules":
        tree = _Modules(host, frozenset(convs), frozenset(meeting.node for meeting in meetings))
        for node in host.graph.nodes:
            paths = ["", *host.owners(node)]
            for path in paths:
                tree.nodes.setdefault(path, []).append(node)
            for parent, child in pairwise(paths):
                siblings = tree.children.setdefault(parent, [])
                if child not in siblings:
                    siblings.append(child)
            if len(paths) > 1:
                tree.owner[node] = paths[-1]
        return tree

    def of_classes(self, classes: set[type[nn.Module]]) -> list[str]:
        """Return the paths of the instances of these classes."""
        return [path for path in self.nodes if path and type(self.host.submodule(path)) in classes]

    def beside(self, blocks: Sequence[str]) -> list[str]:
        """Return what stands in a sequence with blocks and is more than a layer, but of another class.

        timm's EfficientNet begins with a separable convolution that nowhere has an addition.
        """
        found: list[str] = []
        for parent, children in self.children.items():
            holds = {child: any(f"{path}.".startswith(f"{child}.") for path in blocks) for child in children}
            if not parent or type(self.host.submodule(parent)) is not nn.Sequential or not any(holds.values()):
                continue
            for child in children:
                if not holds[child] and self._is_more_than_a_layer(child):
                    found += self.innermost(child) or [self._only_child(child)]
        return found

    def transitions(self, blocks: Sequence[str]) -> set[str]:
        """Return the modules between blocks that hold one convolution and then lower the resolution."""
        order = {path: number for number, path in enumerate(self.nodes)}
        start = min((order[path] for path in blocks), default=0)
        found = set()
        for children in self.children.values():
            holding = [child for child in children if any(f"{path}.".startswith(f"{child}.") for path in blocks)]
            between = (child for child in children if holding and start < order[child] < order[holding[-1]])
            found |= {child for child in between if child not in holding and self._lowers(child)}
        return found

    def _lowers(self, path: str) -> bool:
        """Return whether a module holds one convolution, and its output has fewer positions than what that reads."""
        convs = [node for node in self.nodes[path] if node in self.convs]
        last = self.nodes[path][-1]
        if len(convs) != 1 or last is convs[0] or not is_feature_map(self.host.shapes.get(last)):
            return False
        read = convs[0].all_input_nodes[0]
        return self.host.shapes[last][1] < self.host.shapes[convs[0]][1] <= self.host.shapes[read][1]

    def _only_child(self, path: str) -> str:
        """Return the module within sequences of one."""
        children = self.children.get(path, ())
        if type(self.host.submodule(path)) is nn.Sequential and len(children) == 1:
            return self._only_child(children[0]) if self._is_more_than_a_layer(children[0]) else path
        return path

    def ordered(self, paths: Iterable[str]) -> list[str]:
        """Return paths in the order of their first nodes."""
        wanted = set(paths)
        return [path for path in self.nodes if path in wanted]

    def innermost(self, path: str) -> list[str]:
        """Return the innermost repeated modules within a module, in network order."""
        within = [child for child in self.children.get(path, ()) if self._is_more_than_a_layer(child)]
        if not all(self._follows(first, second) for first, second in pairwise(within)):
            return []
        kinds = Counter(type(self.host.submodule(child)) for child in within)
        repeated = max(kinds.values(), default=0) > 1
        found: list[str] = []
        for child in within:
            found += self.innermost(child) or ([child] if repeated else [])
        return found

    def like(self, blocks: Sequence[str]) -> list[str]:
        """Return the blocks; in the place of one that holds instances of another's class (VoVNet), those."""
        classes = {type(self.host.submodule(path)) for path in blocks} - {nn.Sequential}
        same = self.of_classes(classes)
        found: list[str] = []
        for path in blocks:
            found += [other for other in same if other.startswith(f"{path}.")] or [path]
        return found

    def _is_more_than_a_layer(self, path: str) -> bool:
        """Return whether a module is more than a convolution with its norm and activation."""
        convs = sum(node in self.convs for node in self.nodes[path])
        return convs > 1 or (convs == 1 and any(node in self.meetings for node in self.nodes[path]))

    def _follows(self, first: str, second: str) -> bool:
        start = next(node for node in self.nodes[first] if node in self.convs)
        end = [node for node in self.nodes[second] if node in self.convs][-1]
        return self.host.depends_on(end, start)


def _runs(host: HostGraph, modules: _Modules, convs: Sequence[fx.Node], *, alone: bool) -> list[Part]:
    """Return the runs of convolutions at one resolution, each named by the path of its first.

    Of a host that has no other blocks (`alone`) they must be two convolutions or more of one container: a vision
    transformer's one convolution cuts the image up, and VGG's classifier may be made of convolutions, too.
    """
    paths = {conv: _layer(modules, conv) for conv in convs}
    if alone:
        containers = Counter(path.rpartition(".")[0] for path in paths.values())
        container, number = max(containers.items(), key=lambda item: item[1], default=("", 0))
        convs = [conv for conv in convs if paths[conv].rpartition(".")[0] == container] if number > 1 else []
    runs: list[list[fx.Node]] = []
    for conv in convs:
        if not runs or host.shapes[conv][1:] != host.shapes[runs[-1][-1]][1:]:
            runs.append([])
        runs[-1].append(conv)
    return [Part(paths[run[0]], run=tuple(run), leads=not alone) for run in runs]


def _layer(modules: _Modules, conv: fx.Node) -> str:
    """Return the path of the outermost module that holds this convolution alone, else its own."""
    path = str(conv.target).removeprefix(modules.host.prefix)
    for owner in modules.host.owners(conv):
        if sum(node in modules.convs for node in modules.nodes[owner]) == 1:
            return owner
    return path
