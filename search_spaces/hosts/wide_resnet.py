"""The Wide-ResNets for CIFAR: pre-activation ResNets of depth 6n + 4 with few blocks and many channels.

Zagoruyko and Komodakis, "Wide Residual Networks", arXiv:1605.07146, table 1; WRN-28-10 has depth 28 and 10 times the
channels 16, 32, 64. BAM (journal version of arXiv:1807.06514, table 3) stands in 28-8, 28-10 and 40-10. AA-Wide-ResNet
(Bello et al., arXiv:1904.09925, section 4.1) is WRN-28-10 with `aa` at `*/conv1`, the first convolution of each block;
in the count that AW (arXiv:2108.08205, table 2) prints of it, the channels are those of `width: 0.5`.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.hosts.drawing import draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Zagoruyko and Komodakis, 2016, arXiv:1605.07146"

NETWORKS = {
    "wrn28_8": ((4, 4, 4), 8),
    "wrn28_10": ((4, 4, 4), 10),
    "wrn40_10": ((6, 6, 6), 10),
    # The row "WideResNet28 (w=8) + WideResBlock" of BAM's table 1c: one more block where BAM would stand.
    "wrn28_8_plus_blocks": ((5, 5, 4), 8),
}
"""Blocks per stage and the factor on the channels 16, 32, 64, by name."""


def wide_resnets() -> list[HostEntry]:
    """Return the family's hosts."""
    return [
        HostEntry(name, PAPER, _build, classes=10, input=32, stems=("cifar",), widths=True, width_divisor=16 * factor)
        for name, (_, factor) in NETWORKS.items()
    ]


def _build(config: "HostConfig") -> nn.Module:
    blocks, factor = NETWORKS[config.name]
    widths = [scale(factor * base, config.width) for base in (16, 32, 64)]
    return WideResNet(blocks, widths, classes=config.classes, channels=config.channels)


class WideResNet(nn.Module):
    """A Wide-ResNet: (N, channels, H, W) -> (N, classes).

    `blocks` and `widths` are per stage; every stage but the first halves the resolution. The stem has 16 channels
    whatever the widths are. Without dropout (the paper has it as a variant).
    """

    def __init__(self, blocks: tuple[int, ...], widths: list[int], *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        before = [16, *widths[:-1]]
        self.layer1 = _stage(before[0], widths[0], blocks[0], stride=1)
        self.layer2 = _stage(before[1], widths[1], blocks[1], stride=2)
        self.layer3 = _stage(before[2], widths[2], blocks[2], stride=2)
        self.bn = nn.BatchNorm2d(widths[-1])
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        draw_as_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = self.relu(self.bn(x))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(channels_in: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    first = WideBlock(channels_in, channels, stride=stride)
    return nn.Sequential(first, *(WideBlock(channels, channels, stride=1) for _ in range(num_blocks - 1)))


class WideBlock(nn.Module):
    """Norm, activation and a 3x3 convolution, twice; the sum with the shortcut is neither normed nor activated.

    Where the channels change, the shortcut is a 1x1 convolution of the activated input, otherwise the input.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            if stride > 1 or channels_in != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        branch = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return torch.add(branch, x if self.shortcut is None else self.shortcut(active))
