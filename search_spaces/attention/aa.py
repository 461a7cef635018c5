"""Attention-augmented convolution.

Bello et al., 2019, Attention Augmented Convolutional Networks, arXiv:1904.09925, section 3; its integrations with
attention on weights: Baozhou et al., 2021, arXiv:2108.08205, table 2.
"""

from fractions import Fraction
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.aw import AW
from search_spaces.attention.convolutions import check_plain, conv_arguments, reach, zero_padding
from search_spaces.attention.ops.aw_forms import Geometry, convolve
from search_spaces.attention.registry import ConvGeometry, register
from search_spaces.attention.self_attention import SelfAttention
from search_spaces.errors import InputError

AttentionOnWeights = Literal["none", "conv", "qkv", "out"]


@register("aa", kind="weights", paper="Bello et al., 2019, arXiv:1904.09925")
class AA(nn.Module):
    """Attention augmentation: some channels of a convolution come from self-attention over all positions instead.

    AAConv(x) = concat(conv(x), MHA(x)) over the channels (section 3.2): conv is the convolution stood for with its
    first C - dv filters, MHA is `SelfAttention` with dv channels; (B, C_in, H, W) -> (B, C, H', W').

    A head has max(min_key_dims, floor(key_ratio C / heads)) key dimensions and max(1, floor(value_ratio C / heads))
    values, dv = heads times these. The paper's networks have k = 2 v = 0.2, 8 heads and 20 key dimensions per head
    at the least (section 4.1); it does not say how it rounds.

    Queries, keys and values are taken at the stride of the convolution, which must keep the size but for that.
    Logits take O(heads (H' W')^2) memory per image.

    `aw` gives one of the three convolutions attention on its weights (`aw` with its defaults): the one beside the
    attention (`conv`: integration 1 of AW's table 2), that of queries, keys and values (`qkv`: 2), the last of the
    attention (`out`: 3). Integration 0 is `aw` at the block's second convolution.

    Grouped convolutions are refused: the first C - dv filters never see the inputs of the last groups. Of a
    convolution's bias the first C - dv are kept.
    """

    alpha: nn.Parameter | None
    weight: nn.Parameter
    bias: nn.Parameter | None
    _left: tuple[Tensor, Tensor | None] | None

    def __init__(
        self,
        conv: nn.Conv2d,
        resolution: tuple[int, int],
        *,
        heads: Annotated[int, Field(ge=1, description="attention maps")] = 8,
        key_ratio: Annotated[
            float, Field(ge=0, le=1, description="dimensions of the keys in all heads, over the channels")
        ] = 0.2,
        value_ratio: Annotated[
            float, Field(ge=0, le=1, description="channels that come from attention, over all channels")
        ] = 0.1,
        min_key_dims: Annotated[int, Field(ge=1, description="the least dimensions of the keys in a head")] = 20,
        relative: Annotated[bool, Field(description="keys depend on their position relative to the query")] = True,
        aw: Annotated[
            AttentionOnWeights, Field(description="which of its convolutions has attention on its weights")
        ] = "none",
    ) -> None:
        super().__init__()
        _check(conv)
        keys = _keys(conv.out_channels, heads, key_ratio, min_key_dims)
        values = _values(conv.out_channels, heads, value_ratio)
        self.num_kept = conv.out_channels - heads * values
        largest = resolution if relative else None
        self.attention = SelfAttention(conv.in_channels, heads, keys, values, conv.stride, largest)
        if aw in ("qkv", "out"):
            setattr(self.attention, aw, _with_attention(getattr(self.attention, aw), aw))
        self.weight, left_weight = _split(conv.weight, self.num_kept)
        self.bias, left_bias = (None, None) if conv.bias is None else _split(conv.bias, self.num_kept)
        self._left = left_weight, left_bias
        # Of the parallel AW-convolution only what makes its map: the weight stays here, under the host's name.
        self.on_weights = _with_attention(_like(conv, self.num_kept), aw).attend if aw == "conv" else None
        self.register_parameter("alpha", None)
        self.arguments = conv_arguments(conv)
        self.geometry = Geometry(
            (conv.stride[0], conv.stride[1]), zero_padding(conv), (conv.dilation[0], conv.dilation[1])
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the convolution's channels, then the attention's, in the shape of the convolution's answer."""
        attended_BVHW: Tensor = self.attention(x_BCHW)
        kept_BCHW, replaced_BVHW = self._convolve(x_BCHW)
        if self.alpha is not None:
            attended_BVHW = replaced_BVHW + self.alpha * (attended_BVHW - replaced_BVHW)
        return torch.cat((kept_BCHW, attended_BVHW), 1)

    def _convolve(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the C - dv channels, and those that the attention stands for: none but for `init: identity`."""
        if self.on_weights is None:
            convolved_BCHW = functional.conv2d(x_BCHW, self.weight, self.bias, **self.arguments)
            kept_BCHW, replaced_BVHW = convolved_BCHW.tensor_split((self.num_kept,), 1)
            return kept_BCHW, replaced_BVHW
        weight, left_weight = self.weight.tensor_split((self.num_kept,))
        bias, left_bias = (None, None) if self.bias is None else self.bias.tensor_split((self.num_kept,))
        pooled_BCHW = functional.adaptive_avg_pool2d(x_BCHW, (weight.shape[2], weight.shape[3]))
        map_BCHW = self.on_weights(pooled_BCHW).to(weight.dtype)
        if self.alpha is not None:
            map_BCHW = self.alpha * map_BCHW
        # The weights are K + A K (Baozhou et al., eq. 6), and A is the same for every input channel.
        kept_BCHW = convolve(x_BCHW, weight, 1 + map_BCHW[:, :, None], self.geometry)
        if bias is not None:
            kept_BCHW = kept_BCHW + bias.to(kept_BCHW.dtype)[:, None, None]
        if self.alpha is None:
            return kept_BCHW, kept_BCHW[:, self.num_kept :]
        return kept_BCHW, functional.conv2d(x_BCHW, left_weight, left_bias, **self.arguments)

    def start_as_identity(self) -> None:
        """The last dv channels are conv(x) + alpha (MHA(x) - conv(x)), alpha = 0 at first; all filters are kept.

        With `aw: conv` the others are those of the weights K + alpha A K.
        """
        assert self._left is not None, "to be called once, right after the construction"
        left_weight, left_bias = self._left
        self.weight = nn.Parameter(torch.cat((self.weight.detach(), left_weight)))
        if self.bias is not None and left_bias is not None:
            self.bias = nn.Parameter(torch.cat((self.bias.detach(), left_bias)))
        self._left = None
        self.alpha = nn.Parameter(torch.zeros(()))

    def __getstate__(self) -> dict[str, Any]:
        # The filters left over are there for `start_as_identity`, which is called right after the construction or
        # never: no copy and no file needs them.
        return self.__dict__ | {"_left": None}

    @staticmethod
    def effective(
        knobs: dict[str, Any], *, resolution: tuple[int, int], conv: ConvGeometry, **_: object
    ) -> dict[str, Any]:
        """Describe what is built: ratios act through whole numbers of dimensions; of one position there is nothing
        to choose, and without position embeddings the heads are one."""
        heads = knobs["heads"]
        keys = _keys(conv.out_channels, heads, knobs["key_ratio"], knobs["min_key_dims"])
        values = _values(conv.out_channels, heads, knobs["value_ratio"])
        built = {"keys": heads * keys, "values": heads * values, "relative": knobs["relative"], "aw": knobs["aw"]}
        return built if resolution == (1, 1) and not knobs["relative"] else {"heads": heads} | built


def _keys(channels: int, heads: int, ratio: float, least: int) -> int:
    """The dimensions of a head's keys."""
    return max(least, _floor(ratio, channels, heads))


def _values(channels: int, heads: int, ratio: float) -> int:
    """The dimensions of a head's values.

    Raises:
        InputError: no channel would be left to the convolution.
    """
    values = max(1, _floor(ratio, channels, heads))
    if heads * values >= channels:
        raise InputError(
            f"{heads} heads of {values} values would take {heads * values} of the {channels} channels and leave none "
            f"to the convolution; take fewer heads or a smaller value_ratio"
        )
    return values


def _floor(ratio: float, channels: int, heads: int) -> int:
    # As the decimal it is written as: 0.29 * 100 is 28.999999999999996 in floats.
    return int(Fraction(str(ratio)) * channels / heads)


def _check(conv: nn.Conv2d) -> None:
    check_plain("aa", conv)
    if conv.groups > 1:
        raise InputError(
            f"aa keeps the first filters of a convolution; of one in {conv.groups} groups these never see the inputs "
            f"of the last groups"
        )
    if any(2 * p != r for p, r in zip(zero_padding(conv), reach(conv), strict=True)):
        size = "x".join(map(str, conv.kernel_size))
        raise InputError(
            f"aa sets attention beside a convolution that keeps the size but for its stride; this one is {size}, "
            f"dilated {conv.dilation}, with padding {conv.padding!r}"
        )


def _like(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Return a convolution like `conv` with other output channels."""
    return nn.Conv2d(
        conv.in_channels,
        channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        stride=(conv.stride[0], conv.stride[1]),
        padding=zero_padding(conv),
        dilation=(conv.dilation[0], conv.dilation[1]),
        bias=conv.bias is not None,
    )


def _with_attention(conv: nn.Conv2d, where: str) -> AW:
    try:
        return AW(conv)
    except InputError as error:
        raise InputError(f"with `aw: {where}`, aw does not fit that convolution: {error}") from None


def _split(parameter: Tensor, first: int) -> tuple[nn.Parameter, Tensor]:
    """Return the first rows as a parameter of their own, and the others."""
    kept, left = parameter.detach()[:first], parameter.detach()[first:]
    return nn.Parameter(kept.clone()), left.clone()
