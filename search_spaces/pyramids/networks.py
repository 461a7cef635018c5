"""A feature pyramid, and the network of host, pyramid and head."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from search_spaces.pyramids.heads import Head


def make_pyramid(widths: Sequence[int], width: int, extra: ExtraFPNBlock | None = None) -> FeaturePyramidNetwork:
    """Return torchvision's pyramid over maps of `widths` channels; its `out_channels` are `width`.

    Lin et al., 2017, arXiv:1612.03144, section 3: a 1x1 convolution per map, nearest-neighbour upsampling and addition
    from the coarsest down, a 3x3 convolution per level; no norms.
    """
    pyramid = FeaturePyramidNetwork(list(widths), width, extra_blocks=extra)
    pyramid.out_channels = width
    return pyramid


class PyramidNetwork(nn.Module):
    """A host, a pyramid over its stages, and a head that reads all levels and the size of the image."""

    def __init__(self, body: nn.Module, pyramid: FeaturePyramidNetwork, head: Head) -> None:
        super().__init__()
        self.body = body
        self.fpn = pyramid
        self.head = head

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps: dict[str, Tensor] = self.fpn(self.body(x_BCHW))
        answer: Tensor = self.head(list(maps.values()), x_BCHW)
        return answer
