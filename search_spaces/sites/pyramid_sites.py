"""The sites of a feature pyramid: its lateral and output convolutions, and its top-down additions.

Lin et al., 2017, arXiv:1612.03144, section 3. `fpn/lateral<i>` is the 1x1 convolution that reads the end of a stage,
`fpn/output<i>` the 3x3 convolution that makes level i, `fpn/merge<i>` the addition of what comes from level i + 1;
level 1 is the finest.
"""

from collections.abc import Sequence

from torch import fx, nn

from search_spaces.attention import ConvGeometry
from search_spaces.graphs.tracing import HostGraph
from search_spaces.sites.site_type import Site, source_of

STAGE = "fpn"


def pyramid_sites(graph: HostGraph, host_sites: Sequence[Site] = ()) -> list[Site]:
    """Return the pyramid's sites in the order in which their tensors are computed: from the coarsest level down.

    Args:
        graph: the trace of a host with its pyramid, which stands at `fpn`.
        host_sites: the sites of the host itself. A lateral convolution that alone reads the `out` of the host's last
            block gates the same tensor as that site, and is known as it.
    """
    nodes = {str(node.target): node for node in graph.graph.nodes if node.op == "call_module"}
    known = {site.target: site.known_as for site in host_sites}
    sites = []
    num_levels = len(list(graph.root.get_submodule(f"{STAGE}.inner_blocks").children()))
    for level in range(num_levels, 0, -1):
        lateral = nodes[f"{STAGE}.inner_blocks.{level - 1}.0"]
        output = nodes[f"{STAGE}.layer_blocks.{level - 1}.0"]
        read = lateral.all_input_nodes[0]
        known_as = known.get(read.name, "") if len(read.users) == 1 else ""
        sites.append(_conv_site(graph, f"lateral{level}", level, lateral, known_as))
        merge = output.all_input_nodes[0]
        if merge is not lateral:
            sites.append(_merge_site(graph, level, merge, lateral))
        sites.append(_conv_site(graph, f"output{level}", level, output))
    return sites


def _conv_site(graph: HostGraph, place: str, level: int, conv: fx.Node, known_as: str = "") -> Site:
    """Return the site of a convolution; channels and resolution are those of what it reads, which gates refine."""
    read = source_of(graph, conv.all_input_nodes[0].name)
    module = graph.module(conv)
    assert isinstance(module, nn.Conv2d)
    name = f"{STAGE}/{place}"
    return Site(
        name=name,
        place=place,
        block=f"{STAGE}.level{level}",
        stage=STAGE,
        channels=read.channels,
        resolution=read.resolution,
        target=conv.name,
        conv=ConvGeometry.of(module),
        known_as=known_as or name,
    )


def _merge_site(graph: HostGraph, level: int, merge: fx.Node, lateral: fx.Node) -> Site:
    """Return the site of an addition; its branch is the map from the coarser level.

    Dai et al., 2021, arXiv:2009.14082, section 4: of a long skip connection, X is the low-level map and Y the
    high-level one, whose receptive field is the larger, as that of the branch in a residual block.
    """
    tensor = source_of(graph, merge.name)
    name = f"{STAGE}/merge{level}"
    return Site(
        name=name,
        place=f"merge{level}",
        block=f"{STAGE}.level{level}",
        stage=STAGE,
        channels=tensor.channels,
        resolution=tensor.resolution,
        target=merge.name,
        branch_operand=1 - merge.args.index(lateral),
        known_as=name,
    )
