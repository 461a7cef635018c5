"""The bottleneck of attentional feature fusion's networks, whose strided shortcuts are pooled on the average.

Dai et al., "Attentional Feature Fusion", arXiv:2009.14082; released code: github.com/YimianDai/open-aff
(model/block.py, AFFBottleneck and AFFResNeXtBlock).
"""

from torch import Tensor, nn


def bottleneck_stage(
    channels_in: int, group: int, groups: int, channels: int, num_blocks: int, *, stride: int
) -> nn.Sequential:
    """Return a stage of bottlenecks, the first of which has the stride."""
    first = PooledBottleneck(channels_in, group, groups, channels, stride=stride)
    rest = (PooledBottleneck(channels, group, groups, channels, stride=1) for _ in range(num_blocks - 1))
    return nn.Sequential(first, *rest)


class PooledBottleneck(nn.Module):
    """A bottleneck with `groups` groups of `group` channels, whose strided shortcut is pooled on the average.

    The shortcut where the channels change: average pooling, a 1x1 convolution of stride 1, and norm.
    """

    def __init__(self, channels_in: int, group: int, groups: int, channels: int, *, stride: int) -> None:
        super().__init__()
        inner = group * groups
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride > 1 or channels_in != channels:
            self.downsample.append(pooling(stride))
            self.downsample.append(nn.Conv2d(channels_in, channels, 1, bias=False))
            self.downsample.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return self.relu(branch + self.downsample(x))  # type: ignore[no-any-return]


def pooling(stride: int) -> nn.Module:
    """Return the average pooling of a shortcut, which also reads the odd last row and column."""
    if stride == 1:
        return nn.Identity()
    return nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
