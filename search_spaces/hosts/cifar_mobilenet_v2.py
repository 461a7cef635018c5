"""MobileNetV2 for CIFAR, as in github.com/weiaicunzai/pytorch-cifar100, from where CAT takes it.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381; CAT: arXiv:2212.06335,
table 3. Another network than torchvision's: convolutions have biases, and stem and strides are others.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import make_divisible

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Sandler et al., 2018, arXiv:1801.04381; as in pytorch-cifar100"

STAGES = (
    (1, 16, 1, 1),
    (2, 24, 2, 6),
    (3, 32, 2, 6),
    (4, 64, 2, 6),
    (3, 96, 1, 6),
    (3, 160, 1, 6),
    (1, 320, 1, 6),
)
"""Blocks, channels, stride and expansion per width."""


def cifar_mobilenets_v2() -> list[HostEntry]:
    """Return the family's hosts."""
    return [HostEntry("cifar_mobilenet_v2", PAPER, _build, classes=10, input=32, stems=("cifar",), widths=True)]


def _build(config: "HostConfig") -> nn.Module:
    return CifarMobileNetV2(config.width, classes=config.classes, channels=config.channels)


class CifarMobileNetV2(nn.Module):
    """MobileNetV2 for small images: (N, channels, H, W) -> (N, classes).

    The stem is a 1x1 convolution with one pixel of padding, so a 32x32 image becomes a map of 34x34. The stages have
    strides 1, 2, 2, 2, 1, 1, 1. Layers keep torch's own start.

    `width` (not in that code) multiplies all channels and rounds them to multiples of 8 as the paper's released code
    does; the last convolution has 1280 channels at the least.
    """

    def __init__(self, width: float = 1.0, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        before, last = make_divisible(32 * width), make_divisible(1280 * max(1.0, width))
        self.pre = _conv_norm_relu6(channels, before, padding=1)
        stages = []
        for num_blocks, base, stride, expansion in STAGES:
            after = make_divisible(base * width)
            blocks = [LinearBottleneck(before, after, expansion, stride=stride)]
            blocks += [LinearBottleneck(after, after, expansion, stride=1) for _ in range(num_blocks - 1)]
            stages.append(nn.Sequential(*blocks))
            before = after
        self.stages = nn.Sequential(*stages)
        self.conv1 = _conv_norm_relu6(before, last)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.conv2 = nn.Conv2d(last, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.stages(self.pre(x)))
        return self.conv2(self.avgpool(x)).flatten(1)  # type: ignore[no-any-return]


def _conv_norm_relu6(channels_in: int, channels: int, *, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, padding=padding), nn.BatchNorm2d(channels), nn.ReLU6(inplace=True)
    )


class LinearBottleneck(nn.Module):
    """1x1 to `expansion` times the channels, 3x3 of each channel, 1x1 back; plus the input where shapes agree."""

    def __init__(self, channels_in: int, channels: int, expansion: int, *, stride: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.residual = nn.Sequential(
            nn.Conv2d(channels_in, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=inner),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.residual(x)
        return branch + x if self.adds else branch
