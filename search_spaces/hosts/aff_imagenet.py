"""The ImageNet networks of attentional feature fusion: ResNet-50 and ResNeXt-50-32x4d with a deep stem.

Dai et al., "Attentional Feature Fusion", arXiv:2009.14082, section 5.1; released code: github.com/YimianDai/open-aff
(model/classification.py, AFFResNet and AFFResNeXt): the ResNet v1b of He et al., "Bag of Tricks for Image
Classification with Convolutional Neural Networks", arXiv:1812.01187, section 4 (three 3x3 convolutions for the 7x7 one,
average pooling before the 1x1 convolution of a shortcut). The printed counts have fusion at `layer3.*/merge` and
`layer4.*/merge`.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from search_spaces.hosts.aff_bottleneck import bottleneck_stage
from search_spaces.hosts.drawing import draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Dai et al., 2020, arXiv:2009.14082, section 5.1"

NETWORKS = {"aff_resnet50": (1, 64, 32), "aff_resnext50_32x4d": (32, 4, 64)}
"""Groups, channels of a group in the first stage, and channels of the stem's first two convolutions, by name."""


def aff_imagenet_hosts() -> list[HostEntry]:
    """Return the families' hosts."""
    stems = ("imagenet", "cifar")
    return [
        HostEntry(name, PAPER, _build, classes=1000, input=224, stems=stems, widths=True, width_divisor=group)
        for name, (_, group, _) in NETWORKS.items()
    ]


def _build(config: "HostConfig") -> nn.Module:
    groups, group, stem = NETWORKS[config.name]
    return AffResNet(
        groups,
        scale(group, config.width),
        stem,
        [scale(base, config.width) for base in (256, 512, 1024, 2048)],
        classes=config.classes,
        channels=config.channels,
        small_images=config.stem == "cifar",
    )


class AffResNet(nn.Module):
    """A ResNet or ResNeXt of 50 layers with deep stem and pooled shortcuts: (N, channels, H, W) -> (N, classes).

    `widths` are the channels outside of the bottlenecks, per stage; the stem's channels, `stem`, `stem` and
    2 `stem`, do not depend on them. `small_images`: the stem keeps the resolution.

    The scale of each block's last norm starts at 1. The released code starts it at 0 where asked to, in ResNeXt
    where asked not to (its flag is the wrong way round there).
    """

    def __init__(
        self,
        groups: int,
        group: int,
        stem: int,
        widths: list[int],
        *,
        classes: int = 1000,
        channels: int = 3,
        small_images: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = _deep_stem(channels, stem, stride=1 if small_images else 2)
        self.bn1 = nn.BatchNorm2d(2 * stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        before = [2 * stem, *widths[:-1]]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            bottleneck_stage(before[i], group << i, groups, widths[i], num_blocks, stride=1 if i == 0 else 2)
            for i, num_blocks in enumerate((3, 4, 6, 3))
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        draw_as_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _deep_stem(channels: int, stem: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, stem, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(inplace=True),
        nn.Conv2d(stem, stem, 3, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(inplace=True),
        nn.Conv2d(stem, 2 * stem, 3, padding=1, bias=False),
    )
