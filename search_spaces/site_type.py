"""What a site is: a named place in a host where attention may go."""

from dataclasses import dataclass

from search_spaces.attention import ConvGeometry
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


def source_of(graph: HostGraph, name: str) -> Source:
    """Return a node of a host's graph as something to read."""
    channels, height, width = graph.shapes[graph.node(name)]
    return Source(name, channels, (height, width))
