"""The CIFAR ResNets of depth 6n + 2.

He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2: three stages of n basic
blocks with 16, 32 and 64 channels and parameter-free shortcuts (option A).
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

DEPTHS = (20, 32, 56, 110)
PAPER = "He et al., 2015, arXiv:1512.03385, section 4.2"


def cifar_resnets() -> list[HostEntry]:
    """Return the family's hosts."""
    return [
        HostEntry(
            f"resnet{depth}", PAPER, _build, classes=10, input=32, stems=("cifar",), widths=True, width_divisor=16
        )
        for depth in DEPTHS
    ]


def _build(config: "HostConfig") -> nn.Module:
    depth = int(config.name.removeprefix("resnet"))
    return CifarResNet(depth, config.width, classes=config.classes, channels=config.channels)


class CifarResNet(nn.Module):
    """ResNet-20/32/44/56/110 for small images: (N, channels, H, W) -> (N, classes).

    `width` multiplies the channels of the stem too, which the first block's parameter-free shortcut passes on.

    Raises:
        ValueError: `depth` is not 6n + 2, or 16 times `width` is no whole number.
    """

    def __init__(self, depth: int, width: float = 1.0, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"a CIFAR ResNet has 6n + 2 layers, got {depth}")
        num_blocks = (depth - 2) // 6
        first, second, third = (scale(base, width) for base in (16, 32, 64))
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(first, first, num_blocks, stride=1)
        self.layer2 = _stage(first, second, num_blocks, stride=2)
        self.layer3 = _stage(second, third, num_blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(third, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(channels_in: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    first = CifarBlock(channels_in, channels, stride=stride)
    return nn.Sequential(first, *(CifarBlock(channels, channels, stride=1) for _ in range(num_blocks - 1)))


class CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut that subsamples and pads with zero channels (option A)."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        before = (channels - channels_in) // 2
        self.pad = (before, channels - channels_in - before)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or any(self.pad):
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.pad))
        return self.relu(branch + x)  # type: ignore[no-any-return]
