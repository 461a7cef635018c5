"""Host, pyramid and head as one network."""

from torch import nn

from search_spaces.graphs.tracing import HostGraph
from search_spaces.hosts import DETECTORS, HostConfig
from search_spaces.pyramids.body import Body, freeze_up_to
from search_spaces.pyramids.detectors import make_detector, make_detector_backbone
from search_spaces.pyramids.heads import ClassificationHead, SegmentationHead
from search_spaces.pyramids.levels import pyramid_ends, pyramid_width
from search_spaces.pyramids.networks import PyramidNetwork, make_pyramid


def with_neck(host: nn.Module, graph: HostGraph, config: HostConfig) -> nn.Module:
    """Return the network of a host, a pyramid over the ends of its stages, and a head.

    The host's modules stand under `body.`, the pyramid under `fpn.`, the head under `head.`; a detector has the first
    two under `backbone.`, and its own modules beside it, as torchvision's.

    Args:
        host: the bare host, whose classifier is left out; it becomes the network's, so use it no more.
        graph: its trace.
        config: what neck and head to build.

    Raises:
        InputError: the host has fewer than two stages, or its images are too small for a detector.
    """
    ends = pyramid_ends(graph, config)
    widths = [graph.shapes[node][0] for node in ends]
    width = pyramid_width(graph, config)
    if config.head in DETECTORS:
        if config.pretrained:
            freeze_up_to(host, graph, pyramid_ends(graph, config.bare)[0])
        backbone = make_detector_backbone(Body(host, graph, ends), widths, width, config)
        return make_detector(backbone, graph, ends, config)
    pyramid = make_pyramid(widths, width)
    head_class = SegmentationHead if config.head == "segment" else ClassificationHead
    return PyramidNetwork(Body(host, graph, ends), pyramid, head_class(len(ends), pyramid.out_channels, config.classes))
