"""The CIFAR ResNets of depth 6n + 2.

He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2: three stages of n basic
blocks with 16, 32 and 64 channels and parameter-free shortcuts (option A).
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.hosts.entry import HostEntry

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

DEPTHS = (20, 32, 56, 110)
PAPER = "He et al., 2015, arXiv:1512.03385, section 4.2"


def cifar_resnets() -> list[HostEntry]:
    """Return the family's hosts."""
    return [HostEntry(f"resnet{depth}", PAPER, _build, classes=10, input=32, stems=("cifar",)) for depth in DEPTHS]


def _build(config: "HostConfig") -> nn.Module:
    depth = int(config.name.removeprefix("resnet"))
    return CifarResNet(depth, classes=config.classes, channels=config.channels)


class CifarResNet(nn.Module):
    """ResNet-20/32/44/56/110 for small images: (N, channels, H, W) -> (N, classes).

    Raises:
        ValueError: `depth` is not 6n + 2.
    """

    def __init__(self, depth: int, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"a CIFAR ResNet has 6n + 2 layers, got {depth}")
        num_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(16, 16, num_blocks, stride=1)
        self.layer2 = _stage(16, 32, num_blocks, stride=2)
        self.layer3 = _stage(32, 64, num_blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)
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
        self.pad = (channels - channels_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return self.relu(branch + x)  # type: ignore[no-any-return]
