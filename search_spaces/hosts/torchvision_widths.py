"""torchvision's networks with other widths than 1.

A ResNet's stages are multiplied exactly and its stem is left (so the WideResNet-18 of BAM's table 4: 64 channels in
the stem, 96 to 768 in the stages at 1.5). MobileNetV2 and V3, EfficientNet and MNASNet have a width multiplier of their
own, which rounds the channels of every layer to a multiple of 8; the width is multiplied with the multiplier that the
name already stands for.
"""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torchvision
from torch import nn
from torchvision.models import EfficientNet, MNASNet, ResNet
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.resnet import BasicBlock, Bottleneck

from search_spaces.hosts.widths import scale

_Block = type[BasicBlock] | type[Bottleneck]

_RESNETS: dict[str, tuple[_Block, list[int], int, int]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2], 1, 64),
    "resnet34": (BasicBlock, [3, 4, 6, 3], 1, 64),
    "resnet50": (Bottleneck, [3, 4, 6, 3], 1, 64),
    "resnet101": (Bottleneck, [3, 4, 23, 3], 1, 64),
    "resnet152": (Bottleneck, [3, 8, 36, 3], 1, 64),
    "resnext50_32x4d": (Bottleneck, [3, 4, 6, 3], 32, 4),
    "resnext101_32x8d": (Bottleneck, [3, 4, 23, 3], 32, 8),
    "resnext101_64x4d": (Bottleneck, [3, 4, 23, 3], 64, 4),
    "wide_resnet50_2": (Bottleneck, [3, 4, 6, 3], 1, 128),
    "wide_resnet101_2": (Bottleneck, [3, 4, 23, 3], 1, 128),
}
"""Block, blocks per stage, groups, and channels of a group in the first stage."""

_EFFICIENTNETS = {
    "efficientnet_b0": (1.0, 1.0, 0.2),
    "efficientnet_b1": (1.0, 1.1, 0.2),
    "efficientnet_b2": (1.1, 1.2, 0.3),
    "efficientnet_b3": (1.2, 1.4, 0.3),
    "efficientnet_b4": (1.4, 1.8, 0.4),
    "efficientnet_b5": (1.6, 2.2, 0.4),
    "efficientnet_b6": (1.8, 2.6, 0.5),
    "efficientnet_b7": (2.0, 3.1, 0.5),
}
"""Multipliers of width and depth, and dropout (Tan and Le, 2019, released code)."""

_EFFICIENTNET_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
"""Expansion, kernel, stride, channels before and after, and blocks (Tan and Le, 2019, table 1)."""


def widths_of(name: str) -> dict[str, Any]:
    """Return what a `HostEntry` says of the widths of torchvision's network of that name."""
    if name in _RESNETS:
        return {"widths": True, "width_divisor": math.gcd(64, _RESNETS[name][3])}
    return {"widths": _builder(name) is not None}


def build_widened(name: str, width: float, classes: int) -> nn.Module:
    """Build torchvision's network of that name, one that has widths, with its stages `width` times as wide."""
    if name in _RESNETS:
        return WidenedResNet(width, *_RESNETS[name], classes)
    builder = _builder(name)
    assert builder is not None, name
    return builder(name, width, classes)


class WidenedResNet(ResNet):  # type: ignore[misc]  # torchvision has no types
    """torchvision's ResNet with `width` times the channels in each stage, inside and outside of the bottlenecks."""

    def __init__(
        self, width: float, block: _Block, layers: list[int], groups: int, width_per_group: int, classes: int
    ) -> None:
        self._width = width
        super().__init__(block, layers, classes, groups=groups, width_per_group=width_per_group)
        self.fc = nn.Linear(self.inplanes, classes)

    def _make_layer(self, block: _Block, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
        stage: nn.Sequential = super()._make_layer(block, scale(planes, self._width), *args, **kwargs)
        return stage


def _builder(name: str) -> Callable[[str, float, int], nn.Module] | None:
    patterns = {
        r"mobilenet_v2|mobilenet_v3_.*": _build_mobilenet,
        r"efficientnet_b\d": _build_efficientnet,
        r"mnasnet.*": _build_mnasnet,
    }
    return next((build for pattern, build in patterns.items() if re.fullmatch(pattern, name)), None)


def _build_mobilenet(name: str, width: float, classes: int) -> nn.Module:
    network: nn.Module = torchvision.models.get_model(name, num_classes=classes, width_mult=width)
    return network


def _build_efficientnet(name: str, width: float, classes: int) -> nn.Module:
    own_width, depth, dropout = _EFFICIENTNETS[name]
    stages = [MBConvConfig(*stage, width_mult=own_width * width, depth_mult=depth) for stage in _EFFICIENTNET_STAGES]
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01) if name >= "efficientnet_b5" else None
    network: nn.Module = EfficientNet(stages, dropout, num_classes=classes, norm_layer=norm)
    return network


def _build_mnasnet(name: str, width: float, classes: int) -> nn.Module:
    own_width = float(name.removeprefix("mnasnet").replace("_", "."))
    network: nn.Module = MNASNet(own_width * width, num_classes=classes)
    return network
