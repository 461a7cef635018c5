"""Gather-excite.

Hu et al., 2018, Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks, arXiv:1810.12348,
section 3; released code: github.com/hujie-frank/GENet, models/RN50-GEPF, -GEP and -GEPP.prototxt (global extent).
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.layers import Reduction, hidden_width, zero_bias
from search_spaces.attention.ops.fused import average
from search_spaces.attention.ops.pieces import is_eager_on_cpu
from search_spaces.attention.ops.plain import widen
from search_spaces.attention.registry import register
from search_spaces.errors import InputError

Variant = Literal["theta_minus", "theta", "theta_plus"]
Extent = Literal["global", 2, 4, 8]


@register("ge", kind="gate", paper="Hu et al., 2018, arXiv:1810.12348")
class GE(nn.Module):
    """Gather-excite: weigh each channel by what is gathered around each position.

    x' = x sigmoid(interp(excite(gather(x)))), interp = nearest neighbour, from (B, C, ceil(H/e), ceil(W/e)) back
    to (B, C, H, W).
    gather, for extent e: theta_minus, the mean over a window of 2e - 1 at every e-th position, of what lies on the
    map; theta and theta_plus, log2(e) depthwise 3x3 convolutions of stride 2, padded by 1, without bias, each
    followed by BN and, between them, ReLU. Extent global: the mean over all positions, or one depthwise convolution
    of the size of the map, H x W at the host's configured input (other sizes are refused), and BN.
    excite: theta_plus, W2 ReLU(W1 ReLU(gathered)), W1: C -> C // r, W2: C // r -> C, both with biases; else the
    gathered values themselves.

    The default is the paper's best network, theta_plus with global extent. The ReLU after theta_plus's gather is
    in the released network alone. With global extent the depthwise convolution is a product and a sum, several times
    faster; like a pooling, its H W C multiply-accumulates are not counted. The released starts are kept:
    depthwise convolutions Kaiming normal over the fan-in, W1 and W2 normal with deviation 0.01, biases 0.

    Training theta and theta_plus needs two images or more per batch where one position is gathered.
    """

    def __init__(
        self,
        channels: int,
        resolution: tuple[int, int],
        *,
        variant: Annotated[
            Variant,
            Field(description="parameters: none, in the gathering, or in the gathering and in the exciting"),
        ] = "theta_plus",
        extent: Annotated[
            Extent, Field(description="how many times coarser the gathered map is; global: one position")
        ] = "global",
        reduction: Reduction = 16,
    ) -> None:
        super().__init__()
        self.extent = extent
        self.gather = None if variant == "theta_minus" else _gather(channels, resolution, extent)
        self.excite = _excite(channels, reduction) if variant == "theta_plus" else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x weighed, (B, C, H, W)."""
        gathered = self._mean(x_BCHW) if self.gather is None else self.gather(x_BCHW)
        # The interpolation copies values, so that the sigmoid may come before it, on the small map.
        weights: Tensor = self.excite(gathered).sigmoid()
        if weights.shape[-2:] != (1, 1):
            weights = functional.interpolate(weights, size=x_BCHW.shape[-2:])
        return x_BCHW * weights

    def _mean(self, x_BCHW: Tensor) -> Tensor:
        if self.extent == "global" or max(x_BCHW.shape[-2:]) <= self.extent:
            return average(x_BCHW)[:, :, None, None]
        reach = self.extent - 1
        return functional.avg_pool2d(x_BCHW, 2 * reach + 1, stride=self.extent, padding=reach, count_include_pad=False)

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, resolution: tuple[int, int], **_: object) -> dict[str, Any]:
        """Describe what is built: along an axis no longer than the extent, a mean is the mean of all."""
        variant, extent = knobs["variant"], knobs["extent"]
        if variant == "theta_minus":
            axes = tuple("global" if extent == "global" or size <= extent else extent for size in resolution)
            return {"variant": variant, "extent": axes}
        built = {"variant": variant, "extent": extent}
        return built | ({"hidden": hidden_width(channels, knobs["reduction"])} if variant == "theta_plus" else {})


def _gather(channels: int, resolution: tuple[int, int], extent: int | str) -> nn.Sequential:
    """Gather by depthwise convolutions, (B, C, H, W) -> (B, C, ceil(H/e), ceil(W/e)), or (B, C, 1, 1)."""
    if isinstance(extent, str):
        return nn.Sequential(_WholeMapConv(channels, resolution), nn.BatchNorm2d(channels))
    layers = nn.Sequential()
    for _ in range(extent.bit_length() - 1):
        conv = _HalvingConv(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        layers.extend((conv, nn.BatchNorm2d(channels), nn.ReLU()))
    return layers[:-1]


def _excite(channels: int, reduction: int) -> nn.Sequential:
    hidden = hidden_width(channels, reduction)
    down, up = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
    for conv in (down, up):
        nn.init.normal_(conv.weight, std=0.01)
        zero_bias(conv)
    return nn.Sequential(nn.ReLU(), down, nn.ReLU(), up)


class _HalvingConv(nn.Conv2d):
    """A depthwise convolution; on a CPU in float32, where its backward pass takes 8 to 30 times as long in bfloat16."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not is_eager_on_cpu(x_BCHW):
            return super().forward(x_BCHW)
        with torch.autocast("cpu", enabled=False):
            gathered: Tensor = self._conv_forward(widen(x_BCHW), widen(self.weight), None)
            return gathered.to(x_BCHW.dtype)


class _WholeMapConv(nn.Module):
    """A depthwise convolution whose kernel is the map, (B, C, H, W) -> (B, C, 1, 1)."""

    def __init__(self, channels: int, resolution: tuple[int, int]) -> None:
        super().__init__()
        # (1, C, H, W), not (C, 1, H, W): so the kernel follows the network into channels_last.
        self.weight = nn.Parameter(torch.empty(1, channels, *resolution))
        nn.init.normal_(self.weight, std=(2 / (resolution[0] * resolution[1])) ** 0.5)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        size, wanted = tuple(x_BCHW.shape[-2:]), tuple(self.weight.shape[-2:])
        if size != wanted:
            raise InputError(
                f"this ge was built for {wanted[0]}x{wanted[1]} maps and got {size[0]}x{size[1]}: with global extent "
                "theta and theta_plus have a weight for each position; set the host's input to the size it runs at"
            )
        # In x's type: under autocast a float32 product would be as large again as x.
        return (x_BCHW * self.weight.to(x_BCHW.dtype)).sum((2, 3), keepdim=True)
