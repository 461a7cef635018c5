"""The CIFAR networks of attentional feature fusion: ResNet-20-b, Inception-ResNet-20-b and ResNeXt-38-32x4d.

Dai et al., "Attentional Feature Fusion", arXiv:2009.14082, section 5.1; released code: github.com/YimianDai/open-aff
(model/classification.py, CIFARAFFResNet and CIFARAFFResNeXt). b is the number of blocks per stage: ResNet-20-5 is what
the paper's table 5 calls AFF-ResNet-32. Fusion goes to `*/merge`, in Inception-ResNet to `*/concat`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from search_spaces.hosts.aff_bottleneck import bottleneck_stage, pooling
from search_spaces.hosts.drawing import draw_as_glorot, draw_as_he
from search_spaces.hosts.entry import HostEntry
from search_spaces.hosts.widths import scale

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig

PAPER = "Dai et al., 2020, arXiv:2009.14082, section 5.1"
BASES = (64, 128, 256)
"""Channels of the stages: those of He et al. times 4, as in the released code's runs (its `channel_times`)."""


def aff_cifar_hosts() -> list[HostEntry]:
    """Return the families' hosts."""
    builders: dict[str, Callable[[HostConfig], nn.Module]] = {
        f"{family}_b{b}": build
        for family, build in (("aff_resnet20", _build_resnet), ("aff_inception_resnet20", _build_resnet))
        for b in range(1, 6)
    }
    builders |= {"aff_resnext38_32x4d": _build_resnext, "aff_resnext47_32x4d": _build_resnext}
    return [
        HostEntry(
            name,
            PAPER,
            build,
            classes=10,
            input=32,
            stems=("cifar",),
            widths=True,
            # A group of the ResNeXt has 4 channels in the first stage.
            width_divisor=4 if build is _build_resnext else BASES[0],
        )
        for name, build in builders.items()
    ]


def _build_resnet(config: "HostConfig") -> nn.Module:
    block = InceptionBlock if "inception" in config.name else PreActBlock
    num_blocks = int(config.name.rpartition("_b")[2])
    return AffCifarResNet(block, num_blocks, config.width, classes=config.classes, channels=config.channels)


def _build_resnext(config: "HostConfig") -> nn.Module:
    depth = int(config.name.removeprefix("aff_resnext").partition("_")[0])
    return AffCifarResNeXt((depth - 2) // 9, config.width, classes=config.classes, channels=config.channels)


class PreActBlock(nn.Module):
    """Norm, activation and a 3x3 convolution, twice; the sum with the shortcut is neither normed nor activated.

    Where the channels change, the shortcut is average pooling and a 1x1 convolution, without norm.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if channels_in != channels:
            self.downsample.append(pooling(stride))
            self.downsample.append(nn.Conv2d(channels_in, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(self.relu(self.bn1(x)))
        branch = self.conv2(self.relu(self.bn2(inner)))
        return branch + self.downsample(x)  # type: ignore[no-any-return]

    def first(self, x: Tensor) -> Tensor:
        """Return what the block's first layer computes."""
        return self.conv1(x)  # type: ignore[no-any-return]


class InceptionBlock(PreActBlock):
    """A `PreActBlock` whose first layer is the sum of a 3x3 and a 5x5 convolution, side by side.

    The paper replaces that sum, of one layer and two scales ("same layer"), not the residual addition. Its released
    code has no such network and the text no widths: all else is as in ResNet-20-b here.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__(channels_in, channels, stride=stride)
        self.conv1_5x5 = nn.Conv2d(channels_in, channels, 5, stride=stride, padding=2, bias=False)

    def first(self, x: Tensor) -> Tensor:
        return self.conv1(x) + self.conv1_5x5(x)  # type: ignore[no-any-return]


class AffCifarResNet(nn.Module):
    """ResNet-20-b and Inception-ResNet-20-b: (N, channels, H, W) -> (N, classes); 6b + 2 layers deep.

    The image is normalised without scale and shift. `width` multiplies the channels of the stem too, which are
    those of the first stage, as the released code's `channel_times` does (`width: 0.25` is `channel_times 1`).
    Convolutions are drawn as He et al. (table 2: Kaiming).
    """

    def __init__(
        self, block: type[PreActBlock], num_blocks: int, width: float = 1.0, *, classes: int = 10, channels: int = 3
    ) -> None:
        super().__init__()
        widths = [scale(base, width) for base in BASES]
        self.bn0 = nn.BatchNorm2d(channels, affine=False)
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.layer1 = _stage(block, widths[0], widths[0], num_blocks, stride=1)
        self.layer2 = _stage(block, widths[0], widths[1], num_blocks, stride=2)
        self.layer3 = _stage(block, widths[1], widths[2], num_blocks, stride=2)
        self.bn = nn.BatchNorm2d(widths[2])
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[2], classes)
        draw_as_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(self.bn0(x)))))
        x = self.relu(self.bn(x))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _stage(block: type[PreActBlock], channels_in: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    first = block(channels_in, channels, stride=stride)
    return nn.Sequential(first, *(block(channels, channels, stride=1) for _ in range(num_blocks - 1)))


class AffCifarResNeXt(nn.Module):
    """ResNeXt-38-32x4d for small images: (N, channels, H, W) -> (N, classes); 9 `num_blocks` + 2 layers deep.

    32 groups of 4, 8 and 16 channels inside and 256, 512 and 1024 channels outside of the bottlenecks, all times
    `width`; so is the stem, as the released code's `channel_times` does (which doubles the groups at 8, a width of 2
    here does not). Layers are drawn as Glorot and Bengio (table 2: Xavier).
    """

    def __init__(self, num_blocks: int, width: float = 1.0, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        widths = [scale(base, width) for base in BASES]
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        before = [widths[0], 4 * widths[0], 4 * widths[1]]
        self.layer1, self.layer2, self.layer3 = (
            bottleneck_stage(before[i], widths[i] // 16, 32, 4 * widths[i], num_blocks, stride=1 if i == 0 else 2)
            for i in range(3)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * widths[2], classes)
        draw_as_glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]
