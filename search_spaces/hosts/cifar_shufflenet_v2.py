"""ShuffleNetV2 for CIFAR, as in github.com/weiaicunzai/pytorch-cifar100, from where CAT takes it.

Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", arXiv:1807.11164; CAT:
arXiv:2212.06335, table 3. Another network than torchvision's: convolutions have biases, and the stem is another.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.hosts.entry import HostEntry

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Ma et al., 2018, arXiv:1807.11164; as in pytorch-cifar100"

NETWORKS = {
    "cifar_shufflenet_v2_x0_5": (48, 96, 192, 1024),
    "cifar_shufflenet_v2_x1_0": (116, 232, 464, 1024),
    "cifar_shufflenet_v2_x1_5": (176, 352, 704, 1024),
    "cifar_shufflenet_v2_x2_0": (244, 488, 976, 2048),
}
"""Channels of the three stages and of the last convolution (table 5 of the paper)."""


def cifar_shufflenets_v2() -> list[HostEntry]:
    """Return the family's hosts."""
    return [HostEntry(name, PAPER, _build, classes=10, input=32, stems=("cifar",)) for name in NETWORKS]


def _build(config: "HostConfig") -> nn.Module:
    return CifarShuffleNetV2(NETWORKS[config.name], classes=config.classes, channels=config.channels)


class CifarShuffleNetV2(nn.Module):
    """ShuffleNetV2 for small images: (N, channels, H, W) -> (N, classes).

    The stem is a 3x3 convolution of stride 1 with norm and without activation, and no pooling follows. Layers keep
    torch's own start. The paper gives channels for four sizes, so there are these four and no others.
    """

    def __init__(self, widths: tuple[int, ...], *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.pre = nn.Sequential(nn.Conv2d(channels, 24, 3, padding=1), nn.BatchNorm2d(24))
        self.stage2 = _shuffle_stage(24, widths[0], 4)
        self.stage3 = _shuffle_stage(widths[0], widths[1], 8)
        self.stage4 = _shuffle_stage(widths[1], widths[2], 4)
        self.conv5 = nn.Sequential(nn.Conv2d(widths[2], widths[3], 1), nn.BatchNorm2d(widths[3]), nn.ReLU(inplace=True))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.pre(x))))
        return self.fc(self.avgpool(self.conv5(x)).flatten(1))  # type: ignore[no-any-return]


def _shuffle_stage(channels_in: int, channels: int, num_units: int) -> nn.Sequential:
    return nn.Sequential(
        ShuffleUnit(channels_in, channels, stride=2),
        *(ShuffleUnit(channels, channels, stride=1) for _ in range(num_units - 1)),
    )


class ShuffleUnit(nn.Module):
    """A residual of half the channels beside the other half, shuffled (figure 3c; with a stride, 3d).

    With a stride, both parts are computed from all channels.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.split = half if stride == 1 else 0
        inner = half if stride == 1 else channels_in
        self.residual = nn.Sequential(
            nn.Conv2d(inner, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            *_depthwise_pointwise(inner, half, stride=stride),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = _depthwise_pointwise(channels_in, half, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = residual = x
        if self.split:
            shortcut, residual = x[:, : self.split], x[:, self.split :]
        # Computed first, so that its convolutions are the first three of every unit.
        new = self.residual(residual)
        x = torch.cat([self.shortcut(shortcut), new], 1)
        # Shuffled: the channels of the two halves alternate.
        return torch.unflatten(x, 1, (2, -1)).transpose(1, 2).flatten(1, 2)


def _depthwise_pointwise(channels_in: int, channels: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 3, stride=stride, padding=1, groups=channels_in),
        nn.BatchNorm2d(channels_in),
        nn.Conv2d(channels_in, channels, 1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
