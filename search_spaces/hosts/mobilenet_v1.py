"""MobileNet v1.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", arXiv:1704.04861,
table 1.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from search_spaces.hosts.drawing import draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Howard et al., 2017, arXiv:1704.04861"

STEM = 32
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Channels and stride of each depthwise separable block."""


def mobilenets_v1() -> list[HostEntry]:
    """Return the family's hosts."""
    return [
        HostEntry(
            "mobilenet_v1",
            PAPER,
            _build,
            classes=1000,
            input=224,
            stems=("imagenet", "cifar"),
            widths=True,
            width_divisor=STEM,
        )
    ]


def _build(config: "HostConfig") -> nn.Module:
    stride = 1 if config.stem == "cifar" else 2
    return MobileNetV1(config.width, classes=config.classes, channels=config.channels, stem_stride=stride)


class MobileNetV1(nn.Module):
    """MobileNet v1: (N, channels, H, W) -> (N, classes).

    `width` is the paper's width multiplier, on the stem too (section 3.3). Table 1 gives the last depthwise
    convolution stride 2, but the same 7x7 resolution before and after: it has stride 1 here, as in all released
    code. No dropout.
    """

    def __init__(self, width: float = 1.0, *, classes: int = 1000, channels: int = 3, stem_stride: int = 2) -> None:
        super().__init__()
        before = scale(STEM, width)
        self.conv1 = nn.Conv2d(channels, before, 3, stride=stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential()
        for base, stride in BLOCKS:
            self.blocks.append(SeparableBlock(before, scale(base, width), stride=stride))
            before = scale(base, width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, classes)
        draw_as_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


class SeparableBlock(nn.Module):
    """A 3x3 convolution of each channel, then 1x1 over all; norm and activation after both (figure 3)."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, stride=stride, padding=1, groups=channels_in, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(x)))  # type: ignore[no-any-return]
