"""ResNeXt-29 for CIFAR.

Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", arXiv:1611.05431, section 5.3: a stem of 64
channels and three stages of three bottlenecks with 256, 512 and 1024 channels; 8x64d has 8 groups of 64 channels in
the first stage, twice as many channels per group in each further one.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from search_spaces.hosts.drawing import draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Xie et al., 2016, arXiv:1611.05431, section 5.3"
EXPANSION = 4

NETWORKS = {
    "resnext29_8x64d": ((3, 3, 3), 8),
    "resnext29_16x64d": ((3, 3, 3), 16),
    # The row "ResNeXt 8x64d + ResNeXtBlock" of BAM's table 1c: one more block where BAM would stand.
    "resnext29_8x64d_plus_blocks": ((4, 4, 3), 8),
}
"""Blocks per stage and groups, by name."""


def cifar_resnexts() -> list[HostEntry]:
    """Return the family's hosts."""
    return [
        HostEntry(name, PAPER, _build, classes=10, input=32, stems=("cifar",), widths=True, width_divisor=64)
        for name in NETWORKS
    ]


def _build(config: "HostConfig") -> nn.Module:
    blocks, groups = NETWORKS[config.name]
    return CifarResNeXt(blocks, groups, config.width, classes=config.classes, channels=config.channels)


class CifarResNeXt(nn.Module):
    """A ResNeXt for small images: (N, channels, H, W) -> (N, classes).

    `blocks` are per stage; `width` multiplies the channels of the stages, inside and outside of the bottlenecks, and
    leaves the number of groups and the 64 channels of the stem. The stride is in the 3x3 convolution, as released.
    """

    def __init__(
        self, blocks: tuple[int, ...], groups: int, width: float = 1.0, *, classes: int = 10, channels: int = 3
    ) -> None:
        super().__init__()
        bases = [scale(base, width) for base in (64, 128, 256)]
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(64, bases[0], groups, blocks[0], stride=1)
        self.layer2 = _stage(EXPANSION * bases[0], bases[1], groups, blocks[1], stride=2)
        self.layer3 = _stage(EXPANSION * bases[1], bases[2], groups, blocks[2], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(EXPANSION * bases[2], classes)
        draw_as_he(self)
        nn.init.kaiming_normal_(self.fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(channels_in: int, base: int, groups: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    first = ResNeXtBlock(channels_in, base, groups, stride=stride)
    rest = (ResNeXtBlock(EXPANSION * base, base, groups, stride=1) for _ in range(num_blocks - 1))
    return nn.Sequential(first, *rest)


class ResNeXtBlock(nn.Module):
    """A bottleneck whose 3x3 convolution has `groups` groups of `base` channels; 4 `base` channels outside."""

    def __init__(self, channels_in: int, base: int, groups: int, *, stride: int) -> None:
        super().__init__()
        inner, channels = groups * base, EXPANSION * base
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride > 1 or channels_in != channels:
            self.downsample.append(nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return self.relu(branch + self.downsample(x))  # type: ignore[no-any-return]
