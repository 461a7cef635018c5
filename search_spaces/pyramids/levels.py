"""The levels of a pyramid: the ends of the host's stages that it stands on.

Lin et al., 2017, Feature Pyramid Networks for Object Detection, arXiv:1612.03144, section 3: the output of the last
block of each stage, C2 to C5 in a ResNet; Lin et al., 2017, arXiv:1708.02002 (RetinaNet), and Tian et al., 2019,
arXiv:1904.01355 (FCOS): C3 to C5, and two coarser levels behind them.
"""

import math

from torch import fx

from search_spaces.errors import InputError
from search_spaces.graphs.stages import find_stages
from search_spaces.graphs.tracing import HostGraph
from search_spaces.hosts import DETECTORS, HostConfig, host_entry

MOST_LEVELS = 4
WIDTH = 256
"""Channels of every level (arXiv:1612.03144, section 4)."""

_SMALL = 64
"""Pixels of the images up to which a host is one for small images."""
_WITHOUT_THE_FINEST = ("retinanet", "fcos")


def pyramid_ends(graph: HostGraph, config: HostConfig) -> list[fx.Node]:
    """Return the ends of the stages that the pyramid stands on, the finest first.

    They are the last four at different resolutions (of two stages at one resolution, the later), or as many as there
    are; RetinaNet and FCOS leave the finest of four out.

    Raises:
        InputError: there are fewer than two.
    """
    last_at: dict[int, fx.Node] = {}
    for stage in find_stages(graph):
        last_at[math.prod(graph.shapes[stage.end][1:])] = stage.end
    if len(last_at) < 2:
        raise InputError(
            f"{config.name} has {len(last_at)} stage(s) at {config.input}x{config.input}; a pyramid stands on the ends "
            "of two or more: take a larger `input`, or another host"
        )
    ends = [last_at[size] for size in sorted(last_at, reverse=True)][-MOST_LEVELS:]
    skips = config.head in _WITHOUT_THE_FINEST and len(ends) == MOST_LEVELS
    return ends[1:] if skips else ends


def pyramid_width(graph: HostGraph, config: HostConfig) -> int:
    """Return the channels of every level.

    256, but without a detector, or in a host for small images, no more than the last stage has: such hosts have 64
    there, and four times that in the pyramid would be most of the network.
    """
    if config.head in DETECTORS and host_entry(config.name).input > _SMALL:
        return WIDTH
    return min(WIDTH, graph.shapes[pyramid_ends(graph, config)[-1]][0])


def stride_of(graph: HostGraph, node: fx.Node, config: HostConfig) -> int:
    """Return the pixels of the image between two positions of a map: the power of two that gives its height."""
    height = graph.shapes[node][1]
    powers = (1 << k for k in range(config.input.bit_length()))
    return min(powers, key=lambda stride: abs(-(-config.input // stride) - height))
