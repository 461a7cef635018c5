"""A host as a tree of stages, blocks and sites; blocks in a row that are alike are drawn once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text
from rich.tree import Tree

from nas.cli.output import GAP, console, print_lines
from nas.cli.site_blocks import Block, blocks_of, grouped, kinds_at, runs_of
from search_spaces import HostConfig, Site
from search_spaces.attention import KINDS
from search_spaces.networks import trace_host
from search_spaces.sites.site_type import Source

_INDENT = 8
"""Of what is drawn in a block, by the lines of the tree."""
_TEXT_WIDTH = 64
"""Of what is said of the places of one kind, in characters; a narrow terminal has less room for it."""


@dataclass(frozen=True)
class _Row:
    """The places of one kind in a block: what to say of them, and which kinds of modules go there."""

    entries: tuple[str, ...]
    kinds: str


@dataclass(frozen=True)
class _Node:
    """What is drawn for a block, or for several in a row that are alike."""

    title: str
    remark: str
    rows: tuple[_Row, ...]


def print_sites(host: HostConfig, sites: Sequence[Site], *, fold: bool) -> None:
    """Print the tree of a host's sites, which are in network order, between their numbers and how to read it.

    With `fold`, blocks in a row that are alike are drawn once.
    """
    counts = Counter(site.place_kind for site in sites)
    print_lines(f"{len(sites)} sites: {', '.join(f'{number} {place}' for place, number in counts.items())}", "")
    stages = {
        stage: [_node(host, run) for run in runs_of(blocks_of(stage, members), fold)]
        for stage, members in grouped(sites, lambda site: site.stage).items()
    }
    kinds_width = max(len(row.kinds) for nodes in stages.values() for node in nodes for row in node.rows)
    text_width = min(_TEXT_WIDTH, console().width - _INDENT - GAP - kinds_width)
    tree = Tree(Text(host.name, style="bold"))
    for stage, nodes in stages.items():
        drawn = tree.add(Text.assemble((stage, "bold"), _output_shape(stage, sites)))
        for node in nodes:
            drawn.add(_lines_of(node, text_width))
    _print_tree(tree)
    print_lines("", *_how_to_read(sites))


def _how_to_read(sites: Sequence[Site]) -> Iterator[str]:
    yield f"A site's name is what it stands under, a slash, and its place: {sites[0].name}. Shapes are CxHxW."
    if any("bridge" in kinds_at(site) for site in sites):
        yield "`reads`: what a bridge there reads beside the site, without a size that is the site's own."
    if any(site.refines_input for site in sites):
        yield "A gate at lateral and output refines what the convolution reads; the shapes are those of that."
    yield "On the right: the kinds of modules that go there (`nas modules` has their kinds)."


def _output_shape(stage: str, sites: Sequence[Site]) -> str:
    """Return the shape of a stage's output after two spaces; a pyramid's levels have no common one."""
    outs = [site for site in sites if site.stage == stage and site.place in ("out", "end")]
    return f"  {_shape(outs[-1:])}" if outs else ""


def _node(host: HostConfig, run: Sequence[Block]) -> _Node:
    first, last = run[0], run[-1]
    columns = list(zip(*(block.sites for block in run), strict=True))
    rows = tuple(_row(host, members) for members in grouped(columns, lambda column: column[0].place_kind).values())
    if len(run) == 1:
        return _Node(first.path, "", rows)
    remark = f"  {len(run)} blocks alike" + (" but for their channels" if first.channels != last.channels else "")
    return _Node(f"{first.path} ... {last.path}", remark, rows)


def _row(host: HostConfig, columns: Sequence[Sequence[Site]]) -> _Row:
    """Return the row of places, for each of which there is its site in every block of a run."""
    found = {kind for column in columns for kind in kinds_at(column[0])}
    runs = groupby(columns, key=lambda column: _described(host, column))
    entries = tuple(f"{', '.join(column[0].place for column in run)} {text}" for text, run in runs)
    return _Row(entries, ", ".join(kind for kind in KINDS if kind in found))


def _described(host: HostConfig, column: Sequence[Site]) -> str:
    """Return a site's shape; what a bridge there reads; what the host has there where that can be taken out."""
    site = column[0]
    text = _shape(column)
    if site.place_kind == "own" and (name := _own_class(host, site)):
        text += f" ({name})"
    if "bridge" in kinds_at(site):
        sources = zip(*(each.sources for each in column), strict=True)
        text += f" reads {' + '.join(_shape(source, beside=site) for source in sources)}"
    return text


def _own_class(host: HostConfig, site: Site) -> str:
    """Return the class of the attention that the host has at a site; nothing where the block's own code is it."""
    graph = trace_host(host)
    owner = [*graph.owners(graph.node(site.target))][-1:]
    return type(graph.submodule(owner[0])).__name__ if owner and owner[0] != site.block else ""


def _shape(tensors: Sequence[Site | Source], beside: Site | None = None) -> str:
    """Return CxHxW, or C where the size is that of the site `beside`; of several, C is the first and the last."""
    first, last = tensors[0], tensors[-1]
    channels = f"{first.channels}" + (f"...{last.channels}" if first.channels != last.channels else "")
    return (
        channels
        if beside and beside.resolution == first.resolution
        else "x".join((channels, *map(str, first.resolution)))
    )


def _lines_of(node: _Node, width: int) -> Text:
    lines = [line for row in node.rows for line in _lines(row, width)]
    return Text("\n").join([*([Text.assemble((node.title, "bold"), node.remark)] if node.title else []), *lines])


def _lines(row: _Row, width: int) -> list[Text]:
    """Return a row as lines: what is there, as wide as there is room for, and beside the first of them the kinds."""
    texts = [row.entries[0]]
    for entry in row.entries[1:]:
        joined = f"{texts[-1]}; {entry}"
        texts[-1:] = [joined] if len(joined) <= width else [f"{texts[-1]};", f"  {entry}"]
    texts = [part for text in texts for part in _broken(text, width)]
    first = Text.assemble(f"{texts[0]:<{width}}", " " * GAP, (row.kinds, "dim"))
    return [first, *map(Text, texts[1:])]


def _broken(text: str, width: int) -> list[str]:
    """Return a text as it is, or before and after what a bridge reads where it is too long."""
    shape, reads, sources = text.partition(" reads ")
    return [text] if len(text) <= width or not reads else [shape, f"    reads {sources}"]


def _print_tree(tree: Tree) -> None:
    where = console()
    with where.capture() as capture:
        where.print(tree)
    for line in capture.get().splitlines():
        where.file.write(line.rstrip() + "\n")
