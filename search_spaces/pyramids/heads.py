"""What reads a pyramid without proposals: a classifier and a segmentation.

Classification: Ding et al., 2021, arXiv:2002.03353 (AP-CNN), whose joint classifier reads the global averages of all
levels of a pyramid, concatenated. Segmentation: Kirillov et al., 2019, Panoptic Feature Pyramid Networks,
arXiv:1901.02446, section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClassificationHead(nn.Module):
    """The global average of every level, concatenated, and a linear layer: -> (N, classes).

    AP-CNN (its released code: `cls_concate`), with two departures, so that what the pyramid carries is what is
    measured: a linear layer in the place of two with batch norms, and no further classifier per level.
    """

    def __init__(self, num_levels: int, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(num_levels * width, classes)

    def forward(self, maps_BCHW: Sequence[Tensor], _: Tensor) -> Tensor:
        averages_BC = [map_BCHW.mean((2, 3)) for map_BCHW in maps_BCHW]
        logits_BC: Tensor = self.fc(torch.cat(averages_BC, 1))
        return logits_BC


class SegmentationHead(nn.Module):
    """Semantic FPN: all levels brought to the finest, added, classified: -> (N, classes, H, W) at the image's size.

    Each level goes down to the finest in steps of a 3x3 convolution, group norm, ReLU and bilinear upsampling to the
    next level (the finest: without upsampling); after the sum a 1x1 convolution and bilinear upsampling.

    The paper has 128 channels under a pyramid of 256, in 32 groups. Here they are half the pyramid's (down to a
    multiple of 4) in groups of 4 channels, which is that for 256 and in proportion in the narrow pyramids of small
    hosts.
    """

    def __init__(self, num_levels: int, width: int, classes: int) -> None:
        super().__init__()
        half = max(4, width // 8 * 4)
        self.levels = nn.ModuleList(
            nn.ModuleList(_step(width if step == 0 else half, half) for step in range(max(1, level)))
            for level in range(num_levels)
        )
        self.classify = nn.Conv2d(half, classes, 1)

    def forward(self, maps_BCHW: Sequence[Tensor], image_BCHW: Tensor) -> Tensor:
        summed_BCHW = self.levels[0][0](maps_BCHW[0])  # type: ignore[index]  # torch types lists of lists as Modules
        for level, steps in enumerate(self.levels):
            if level:
                summed_BCHW = summed_BCHW + _to_the_finest(steps, level, maps_BCHW)
        return _resize(self.classify(summed_BCHW), image_BCHW)


Head = ClassificationHead | SegmentationHead


def _step(channels_in: int, channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.GroupNorm(channels // 4, channels), nn.ReLU(inplace=True))


def _to_the_finest(steps: nn.Module, level: int, maps_BCHW: Sequence[Tensor]) -> Tensor:
    x_BCHW = maps_BCHW[level]
    for number, step in enumerate(steps.children()):
        x_BCHW = _resize(step(x_BCHW), maps_BCHW[level - 1 - number])
    return x_BCHW


def _resize(x_BCHW: Tensor, like_BCHW: Tensor) -> Tensor:
    return functional.interpolate(x_BCHW, size=like_BCHW.shape[-2:], mode="bilinear", align_corners=False)
