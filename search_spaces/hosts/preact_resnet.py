"""The pre-activation ResNet of 164 layers for CIFAR.

He et al., "Identity Mappings in Deep Residual Networks", arXiv:1603.05027: three stages of 18 bottlenecks, norm and
activation before each convolution. The attention papers call it "PreResNet110": the code that they took it from
(github.com/bearpaw/pytorch-classification, preresnet.py at depth 110) makes (110 - 2) / 6 blocks per stage, of three
convolutions instead of two.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.hosts.drawing import draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = 'He et al., 2016, arXiv:1603.05027; called "PreResNet110" by BAM, arXiv:1807.06514'
EXPANSION = 4


def preact_resnets() -> list[HostEntry]:
    """Return the family's hosts."""
    return [
        HostEntry("preresnet164", PAPER, _build, classes=10, input=32, stems=("cifar",), widths=True, width_divisor=16)
    ]


def _build(config: "HostConfig") -> nn.Module:
    return PreActResNet(18, config.width, classes=config.classes, channels=config.channels)


class PreActResNet(nn.Module):
    """A pre-activation ResNet of bottlenecks: (N, channels, H, W) -> (N, classes).

    Stages of `num_blocks` blocks with 16, 32, 64 inner channels times `width`, 4 times as many outside; the stem
    has 16 channels whatever the width is. Departures from the paper, as in the code that the attention papers
    used: every block normalises its own input, also those whose shortcut is a convolution (the paper shares that
    norm with the shortcut there), and no norm follows the stem.
    """

    def __init__(self, num_blocks: int, width: float = 1.0, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        inner = [scale(base, width) for base in (16, 32, 64)]
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.layer1 = _stage(16, inner[0], num_blocks, stride=1)
        self.layer2 = _stage(EXPANSION * inner[0], inner[1], num_blocks, stride=2)
        self.layer3 = _stage(EXPANSION * inner[1], inner[2], num_blocks, stride=2)
        self.bn = nn.BatchNorm2d(EXPANSION * inner[2])
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(EXPANSION * inner[2], classes)
        draw_as_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = self.relu(self.bn(x))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(channels_in: int, inner: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    first = PreActBottleneck(channels_in, inner, stride=stride)
    rest = (PreActBottleneck(EXPANSION * inner, inner, stride=1) for _ in range(num_blocks - 1))
    return nn.Sequential(first, *rest)


class PreActBottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 (with the stride) and 1x1, each after norm and activation, and a shortcut.

    Where the channels or the resolution change, the shortcut is a 1x1 convolution of the block's input.
    """

    def __init__(self, channels_in: int, inner: int, *, stride: int) -> None:
        super().__init__()
        channels = EXPANSION * inner
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = (
            nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            if stride > 1 or channels_in != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv1(self.relu(self.bn1(x)))
        branch = self.conv2(self.relu(self.bn2(branch)))
        branch = self.conv3(self.relu(self.bn3(branch)))
        return torch.add(branch, x if self.shortcut is None else self.shortcut(x))
