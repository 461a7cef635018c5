"""What a site is: a named place in a host where attention may go."""

from dataclasses import dataclass

from search_spaces.attention import ConvGeometry
from search_spaces.graphs.tracing import HostGraph


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
    """`conv1`, `after_conv1`, ..., `own`, `branch`, `merge`, `concat`, `out`, `end`, with a number where a block has
    several; in a pyramid `lateral1`, `output1`, `merge1`."""
    block: str
    """Path of the block it belongs to (of the stage's last block for `end`, of the module that concatenates or adds for
    a `concat` between blocks)."""
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
    a stage's border; at the first block, the stem's output. None where the block reads the image."""
    previous_end: Source | None = None
    """The output of the block before, which is the block's input; None where that is the image."""
    conv: ConvGeometry | None = None
    """The convolution that stands at a `conv<i>`, `lateral<i>` or `output<i>`."""
    branch_operand: int | None = None
    """At a sum that can be replaced: which operand is the branch, 0 or 1; None where there is no sum."""
    replaces_from: str = ""
    """At an `own`: the node that the host's own attention reads; what is between it and `target` is replaced."""
    same_before: str = ""
    """At an `own`: the name by which its input is known as a site, if nothing else reads that; else empty."""
    same_after: str = ""
    """At an `own`: the name by which its output is known as another site (`branch` in SE-ResNet); else empty."""
    known_as: str = ""
    """The site by whose name the tensor is known: a stage's `end` is also the `out` of its last block."""

    @property
    def refines_input(self) -> bool:
        """What refines here refines the input of the convolution at `target`, for this convolution alone.

        `channels` and `resolution` are then those of that input.
        """
        return self.place_kind in ("lateral", "output")

    @property
    def place_kind(self) -> str:
        """The place without its number: `conv`, `after_conv`, `branch`, ..."""
        return self.place.rstrip("0123456789")


def source_of(graph: HostGraph, name: str) -> Source:
    """Return a node of a host's graph as something to read."""
    channels, height, width = graph.shapes[graph.node(name)]
    return Source(name, channels, (height, width))
