"""The blocks of a traced host, described from its graph; which parts of the host they are says `block_paths`."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx, nn

from search_spaces.graphs.block_paths import Part
from search_spaces.graphs.merges import Meeting, Merge
from search_spaces.graphs.own_attention import OwnAttention, region
from search_spaces.graphs.tracing import HostGraph

_DEPTHS = {"StochasticDepth", "DropPath"}
"""Classes of stochastic depth."""

_PASSED_OVER = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""What may stand between a convolution and its norm and activation."""


@dataclass(frozen=True)
class Block:
    """One block of a host."""

    path: str
    input: fx.Node | None
    """What the main path starts from: the output of the block before, or of the stem. Of several maps that the block
    reads (DenseNet) the latest; None if it reads the image."""
    convs: tuple[fx.Node, ...]
    """The convolutions of the main path, and of all paths where branches meet again, in graph order."""
    after_convs: tuple[fx.Node | None, ...]
    """Per convolution its output after norm and activation; None for the last before a merge or the output."""
    merges: tuple[Merge, ...]
    """The residual additions, in order."""
    branches: tuple[fx.Node, ...]
    """Per merge the end of the residual branch, before stochastic depth."""
    meetings: tuple[Meeting, ...]
    """The same-layer sums and concatenations, in order."""
    own: tuple[OwnAttention, ...]
    """The attention that the host has there itself, in order."""
    out: fx.Node
    """The block's output, after the merge and its activation."""
    leads: bool = False
    """It stands before blocks of its resolution and is none of them: a stem, or a transition of DenseNet."""

    @property
    def last(self) -> fx.Node:
        """The block's last features before the merge: those of its last convolution, after their norm, and before
        the host's own attention."""
        last = self.branches[-1] if self.branches else self.out
        before: dict[fx.Node, fx.Node] = {own.output: own.input for own in self.own}
        return before.get(last, last)


@dataclass(frozen=True)
class BlockFinder:
    """Describes the blocks of one host, given what was found in the whole of it."""

    host: HostGraph
    maps: frozenset[fx.Node]
    own: list[OwnAttention]
    merges: list[Merge]
    meetings: list[Meeting]
    convs: frozenset[fx.Node]
    """Without those of the host's own attention."""

    def block(self, part: Part) -> Block | None:
        """Return the block of a part of the host; None if there is no convolution in it or its output is no map."""
        if part.run:
            out = self._after_norm_and_activation(part.run[-1], None)
            start = part.run[0].all_input_nodes[0]
            inside = [node for node in region(self.host, start, out) if node.op != "get_attr"]
        else:
            inside = list(part.nodes)
            answers = [node for node in inside if any(user not in set(inside) for user in node.users)]
            outputs = [node for node in answers if node in self.maps]
            if not outputs:
                return None
            out = outputs[-1]
        return self._describe(part, inside, out)

    def _describe(self, part: Part, inside: list[fx.Node], out: fx.Node) -> Block | None:
        members = set(inside)
        merges, inner = self._outer_merges([merge for merge in self.merges if merge.node in members])
        meetings = [*inner, *(meeting for meeting in self.meetings if meeting.node in members)]
        branches = tuple(self._before_stochastic_depth(merge.branch) for merge in merges)
        convs = [node for node in inside if node in self.convs and self._is_on_main_path(node, merges, out)]
        if not convs:
            return None
        without = self._last_convs(convs, merges, [meeting.node for meeting in meetings], out)
        return Block(
            path=part.path,
            input=self._input(convs[0], members),
            convs=tuple(convs),
            after_convs=tuple(
                None if conv in without else self._after_norm_and_activation(conv, members) for conv in convs
            ),
            merges=merges,
            branches=branches,
            meetings=tuple(sorted(meetings, key=lambda meeting: inside.index(meeting.node))),
            own=tuple(own for own in self.own if own.output in members),
            out=out,
            leads=part.leads,
        )

    def _outer_merges(self, merges: Sequence[Merge]) -> tuple[tuple[Merge, ...], list[Meeting]]:
        """Return the residual additions, and as same-layer sums those within another's branch (Res2Net adds there)."""
        depends_on = self.host.depends_on
        inner = [
            merge
            for merge in merges
            if any(
                depends_on(other.branch, merge.node) and not depends_on(other.shortcut, merge.node) for other in merges
            )
        ]
        outer = tuple(merge for merge in merges if merge not in inner)
        return outer, [Meeting(merge.node, merge.branch) for merge in inner]

    def _before_stochastic_depth(self, node: fx.Node) -> fx.Node:
        if type(self.host.module(node)).__name__ in _DEPTHS:
            return self._before_stochastic_depth(node.all_input_nodes[0])
        return node

    def _is_on_main_path(self, conv: fx.Node, merges: Sequence[Merge], out: fx.Node) -> bool:
        """Return whether the output is computed from a convolution, not only through a shortcut."""
        depends_on = self.host.depends_on
        shortcuts = (depends_on(merge.shortcut, conv) and not depends_on(merge.branch, conv) for merge in merges)
        return depends_on(out, conv) and not any(shortcuts)

    def _last_convs(
        self, convs: Sequence[fx.Node], merges: Sequence[Merge], meetings: Sequence[fx.Node], out: fx.Node
    ) -> set[fx.Node]:
        """Return the convolutions whose outputs are the end of a branch or of the block.

        Each is the only last on the way there, and nothing is concatenated or added to it on that way (ShuffleNet).
        """
        depends_on = self.host.depends_on
        found = set()
        before: list[fx.Node] = []
        for end in [*(merge.branch for merge in merges), out]:
            leading = [conv for conv in convs if conv not in before and depends_on(end, conv)]
            last = [
                conv for conv in leading if not any(other is not conv and depends_on(other, conv) for other in leading)
            ]
            if len(last) == 1 and not any(depends_on(end, each) and depends_on(each, last[0]) for each in meetings):
                found.add(last[0])
            before += leading
        return found

    def _input(self, conv: fx.Node, members: set[fx.Node]) -> fx.Node | None:
        read = {parent for node in members for parent in node.all_input_nodes} - members
        maps = [
            node
            for node in self.host.graph.nodes
            if node in read and node in self.maps and node.op != "placeholder" and self.host.depends_on(conv, node)
        ]
        return maps[-1] if maps else None

    def _after_norm_and_activation(self, conv: fx.Node, members: set[fx.Node] | None) -> fx.Node:
        """Return the output of a convolution after the norms and activations that follow it within the block."""
        end = node = conv
        while len(users := [user for user in node.users if user in self.host.shapes]) == 1:
            node = users[0]
            if node not in self.maps or (members is not None and node not in members):
                break
            if self.host.is_norm_or_activation(node):
                end = node
            elif not isinstance(self.host.module(node), _PASSED_OVER):
                break
        return end
