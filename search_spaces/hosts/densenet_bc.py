"""DenseNet-BC for CIFAR.

Huang et al., "Densely Connected Convolutional Networks", arXiv:1608.06993, sections 3 and 4.2: three stages of
bottlenecks whose outputs are concatenated, and transitions between them that halve channels and resolution.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.hosts.drawing import draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Huang et al., 2016, arXiv:1608.06993"
GROWTH = 12


def densenets_bc() -> list[HostEntry]:
    """Return the family's hosts."""
    return [
        HostEntry(
            "densenet_bc_100_12",
            PAPER,
            _build,
            classes=10,
            input=32,
            stems=("cifar",),
            widths=True,
            width_divisor=GROWTH,
        )
    ]


def _build(config: "HostConfig") -> nn.Module:
    growth = scale(GROWTH, config.width)
    return DenseNetBC(100, growth, classes=config.classes, channels=config.channels)


class DenseNetBC(nn.Module):
    """DenseNet-BC: (N, channels, H, W) -> (N, classes).

    `depth` is 6n + 4, with n layers of two convolutions per stage, each of which adds `growth` channels; the stem
    has 2 `growth`. A transition is the first module of the stage whose resolution it makes. Without dropout (the
    paper has it only where images are not augmented).

    Raises:
        ValueError: `depth` is not 6n + 4.
    """

    def __init__(self, depth: int, growth: int, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"a DenseNet-BC of three stages has 6n + 4 layers, got {depth}")
        num_layers = (depth - 4) // 6
        self.conv1 = nn.Conv2d(channels, 2 * growth, 3, padding=1, bias=False)
        self.layer1, width = _stage(2 * growth, growth, num_layers, transition=False)
        self.layer2, width = _stage(width, growth, num_layers, transition=True)
        self.layer3, width = _stage(width, growth, num_layers, transition=True)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, classes)
        draw_as_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = self.relu(self.bn(x))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(channels: int, growth: int, num_layers: int, *, transition: bool) -> tuple[nn.Sequential, int]:
    """Return a stage and the channels of its output."""
    modules: list[nn.Module] = []
    if transition:
        modules.append(Transition(channels, channels // 2))
        channels //= 2
    modules += [DenseLayer(channels + i * growth, growth) for i in range(num_layers)]
    return nn.Sequential(*modules), channels + num_layers * growth


class DenseLayer(nn.Module):
    """Adds `growth` channels: 1x1 to 4 `growth`, then 3x3, each after norm and activation; beside its input."""

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(self.relu(self.bn1(x)))
        new = self.conv2(self.relu(self.bn2(new)))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """Norm, activation, a 1x1 convolution to fewer channels, and 2x2 average pooling."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels_in)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(self.relu(self.bn(x))))  # type: ignore[no-any-return]
