"""torchvision's detectors over any host.

Ren et al., 2015, Faster R-CNN, arXiv:1506.01497; He et al., 2017, Mask R-CNN, arXiv:1703.06870 (with keypoints, section
5); Lin et al., 2017, RetinaNet, arXiv:1708.02002; Tian et al., 2019, FCOS, arXiv:1904.01355. Over ResNet-50 on images
of 800 pixels they are torchvision's `*_resnet50_fpn`, parameter for parameter, apart from frozen batch norm: here the
host keeps its batch norms, and their statistics follow the mode of the module.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx, nn
from torchvision.models.detection import FCOS, FasterRCNN, KeypointRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from search_spaces.errors import InputError
from search_spaces.graphs.tracing import HostGraph
from search_spaces.hosts import HostConfig
from search_spaces.pyramids.levels import stride_of
from search_spaces.pyramids.networks import make_pyramid

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DetectorBackbone(nn.Module):
    """A host and its pyramid: (N, C, H, W) -> the levels by name, the finest first."""

    def __init__(self, body: nn.Module, pyramid: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = pyramid
        self.out_channels = out_channels

    def forward(self, x_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        maps: OrderedDict[str, Tensor] = self.fpn(self.body(x_BCHW))
        return maps


def make_detector_backbone(body: nn.Module, widths: Sequence[int], width: int, config: HostConfig) -> DetectorBackbone:
    """Return the backbone of a detector, with the coarser levels that it adds to the pyramid's of `width` channels."""
    extra = LastLevelP6P7(width, width) if config.head in ("retinanet", "fcos") else LastLevelMaxPool()
    return DetectorBackbone(body, make_pyramid(widths, width, extra), width)


def make_detector(
    backbone: DetectorBackbone, graph: HostGraph, ends: Sequence[fx.Node], config: HostConfig
) -> nn.Module:
    """Return the detector of a configuration.

    `config.input` is the length to which the shorter side of an image is brought, up to 5/3 of it the longer (800 and
    1333 pixels in torchvision). Anchors are in proportion to the strides of the levels, as in the papers.

    Raises:
        InputError: images are so small that batch norm could not train on a single one.
    """
    if min(graph.shapes[ends[-1]][1:]) < 2:
        raise InputError(
            f"{config.head} over {config.name} needs larger images than `input: {config.input}`, at which the last "
            "stage is one pixel; it is the length to which the shorter side is brought, 800 in torchvision"
        )
    strides = [stride_of(graph, end, config) for end in ends]
    return _MAKERS[config.head](backbone, strides, config)


def _images(config: HostConfig) -> dict[str, Any]:
    """Return how images are brought to size, and the mean and deviation that is taken from each channel."""
    mean, std = (list(_MEAN), list(_STD))
    if config.channels != len(mean):
        mean, std = ([sum(each) / len(each)] * config.channels for each in (mean, std))
    return {"min_size": config.input, "max_size": config.input * 5 // 3, "image_mean": mean, "image_std": std}


def _rcnn(make: Callable[..., nn.Module], backbone: nn.Module, strides: list[int], config: HostConfig) -> nn.Module:
    # One more level by subsampling; arXiv:1612.03144, section 4.1: anchors of 32 to 512 at strides of 4 to 64.
    sizes = tuple((8 * stride,) for stride in [*strides, 2 * strides[-1]])
    anchors = AnchorGenerator(sizes, (_ASPECT_RATIOS,) * len(sizes))
    return make(backbone, num_classes=config.classes, rpn_anchor_generator=anchors, **_images(config))


def _faster(backbone: nn.Module, strides: list[int], config: HostConfig) -> nn.Module:
    return _rcnn(FasterRCNN, backbone, strides, config)


def _mask(backbone: nn.Module, strides: list[int], config: HostConfig) -> nn.Module:
    return _rcnn(MaskRCNN, backbone, strides, config)


def _keypoint(backbone: nn.Module, strides: list[int], config: HostConfig) -> nn.Module:
    return _rcnn(KeypointRCNN, backbone, strides, config)


def _with_two_more(strides: list[int]) -> list[int]:
    return [*strides, 2 * strides[-1], 4 * strides[-1]]


def _retinanet(backbone: nn.Module, strides: list[int], config: HostConfig) -> nn.Module:
    # Three octave fractions at each level, from four times the stride (arXiv:1708.02002, section 4; torchvision).
    sizes = tuple(tuple(int(4 * stride * 2 ** (part / 3)) for part in range(3)) for stride in _with_two_more(strides))
    anchors = AnchorGenerator(sizes, (_ASPECT_RATIOS,) * len(sizes))
    return RetinaNet(backbone, config.classes, anchor_generator=anchors, **_images(config))  # type: ignore[no-any-return]


def _fcos(backbone: nn.Module, strides: list[int], config: HostConfig) -> nn.Module:
    # One "anchor" for each position, of the size of the stride: it carries the stride to torchvision's loss.
    sizes = tuple((stride,) for stride in _with_two_more(strides))
    anchors = AnchorGenerator(sizes, ((1.0,),) * len(sizes))
    return FCOS(backbone, config.classes, anchor_generator=anchors, **_images(config))  # type: ignore[no-any-return]


_MAKERS: dict[str, Callable[[nn.Module, list[int], HostConfig], nn.Module]] = {
    "fasterrcnn": _faster,
    "maskrcnn": _mask,
    "keypointrcnn": _keypoint,
    "retinanet": _retinanet,
    "fcos": _fcos,
}
