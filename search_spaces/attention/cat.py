"""Collaborative attention: channels and positions weighed side by side, with learned shares.

Wu et al., 2023, CAT: Learning to Collaborate Channel and Spatial Attention from Multi-Information Fusion,
arXiv:2212.06335, section 3. The authors released no code.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.attention.layers import OddSize, Reduction, hidden_width
from search_spaces.attention.ops.blurred_maximum import blurred_maxima
from search_spaces.attention.ops.entropy import CHANNELS, POSITIONS, Axes, entropy, mean_and_entropy
from search_spaces.attention.ops.plain import widen
from search_spaces.attention.ops.single_channel import convolve_single_channel
from search_spaces.attention.ops.two_sided_weights import weigh_two_sided
from search_spaces.attention.registry import register
from search_spaces.errors import InputError

Arrangement = Annotated[
    Literal["parallel", "channel", "spatial", "channel_spatial", "spatial_channel"],
    Field(description="both sides added (parallel), one alone, or one after the other"),
]
GaussSize = Annotated[int, Field(ge=1, description="size of the Gaussian before the maximum; odd, 1: none"), OddSize]
SigmoidPlace = Annotated[
    Literal["before", "after", "twice"],
    Field(description="before the exterior factors, after them, or after them and in the spatial side too"),
]
EntropySoftmax = Annotated[
    Literal["summed", "other"],
    Field(description="softmax over the axes that the entropy sums over, or over the others"),
]
EntropyRange = Annotated[
    Literal["unit", "symmetric"],
    Field(description="entropies are normalised to [0, 1] (unit) or [-1, 1] (symmetric)"),
]

_SIDES: dict[str, tuple[Axes, ...]] = {
    "parallel": (POSITIONS, CHANNELS),
    "channel": (POSITIONS,),
    "spatial": (CHANNELS,),
    "channel_spatial": (POSITIONS, CHANNELS),
    "spatial_channel": (CHANNELS, POSITIONS),
}
_OTHER_SIDE = {POSITIONS: CHANNELS, CHANNELS: POSITIONS}
_EPSILON = 1e-5
# The poolings, in order, and what the paper calls their factors, after C_ or S_.
_FACTORS = {"gap": "alpha", "gmp": "beta", "gep": "gamma"}


@register("cat", kind="gate", paper="Wu et al., 2023, arXiv:2212.06335")
class CAT(nn.Module):
    """Collaborative attention: weigh channels and positions, each by mean, maximum and entropy, in learned shares.

    Channels, each z of shape (B, C): z_avg = mean, z_max = max of g * F and z_ent = N(H) over the positions,
        H = -sum p log p, p = softmax of F over the positions (eq. 3),
        N(H) = (H - min H) / (max H - min H + 1e-5), min and max over C (eq. 4),
        C_A = C_alpha MLP(z_avg) + C_beta MLP(z_max) + C_gamma MLP(z_ent) (eq. 2, 5), (B, C, 1, 1),
    MLP(z) = W2 ReLU(W1 z), W1: C -> C // r, W2: C // r -> C, one for all three, without biases.
    Positions, each s of shape (B, 1, H, W): the same three over the channels, min and max over H and W (eq. 6),
        S_A = conv_k(-S_alpha s_avg + S_beta s_max + S_gamma s_ent) (eq. 7), (B, 1, H, W); note the minus;
    conv_k: 1 -> 1 channel, without bias or norm.
    Both, side by side (algorithm 1):
        F_A = F (C_w sigmoid(C_A) + S_w sigmoid(S_A)), (C_w, S_w) the softmax of two scalars.

    C_w, S_w (exterior) and C_alpha .. S_gamma (interior) are the colla-factors: eight learned scalars that start
    at 0, so that every weight is 1/2 at first; `colla_factors()` reads them. Switched off, they are fixed: the
    exterior ones at 1/2, the interior ones at 1/n for the n poolings that are on, where a softmax would start.
    `arrangement` has the rows of table 6. Only `parallel` has exterior factors; one side alone is F sigmoid(C_A)
    or F sigmoid(S_A), and one after the other the second of what the first gives.

    Where the paper contradicts itself or is silent:
    - `sigmoid` (parallel only). `before` the exterior factors is algorithm 1, the only place with all of it; both
      sides are treated alike and C_w, S_w are the shares that figure 5 reads them as. `after` is eq. 1,
      F (sigmoid(C_w C_A) + sigmoid(S_w S_A)). `twice` is eq. 1 and 7 both as printed, sigmoid(S_w sigmoid(S_A))
      for the second: with S_w = 1/2 no more than 0.5 to 0.62.
    - `interior_softmax`: only the exterior factors are said to pass through one. Without it MLP and conv_k get no
      gradient in the first step, being multiplied by 0; the interior factors move first.
    - `entropy_softmax`. The words ("probability of location i in each feature map") and an entropy want p over
      the axes that are summed over; the notation reads as p over the `other`: over C in the channels' entropy.
    - `entropy_range`: [0, 1] by eq. 4 (`unit`), [-1, 1] by the text (`symmetric`, 2 N(H) - 1). The axes are
      not given; here each image has its min and max. The 1e-5 is added: where all entropies are equal the
      paper divides 0 by 0, and N(H) is 0 here.
    - Eq. 2 puts the raw pooled maps into the MLP, the text the normalised entropies, as here.
    - g, a Gaussian of `gauss_size` (5) and `gauss_sigma`; sigma, axis and border are not given. "k x 1" for the
      channels is taken as height x width, a filter along H; it is the first half of the 2-D filter for the
      positions, and so computed once. At the border: see `blurred_maxima`.
    - Biases in the MLP: the printed 26.22M (ResNet-50, CIFAR-100) are 26,221,108 without, 26,237,156 with them.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Reduction = 16,
        gap: Annotated[bool, Field(description="pool the mean")] = True,
        gmp: Annotated[bool, Field(description="pool the maximum, after the Gaussian")] = True,
        gep: Annotated[bool, Field(description="pool the entropy")] = True,
        exterior: Annotated[bool, Field(description="learn the shares of the two sides (else 1/2 each)")] = True,
        interior: Annotated[bool, Field(description="learn the factors of the poolings (else all equal)")] = True,
        arrangement: Arrangement = "parallel",
        kernel_size: Annotated[int, Field(ge=1, description="size of the spatial convolution; odd"), OddSize] = 7,
        gauss_size: GaussSize = 5,
        gauss_sigma: Annotated[float, Field(gt=0, description="the Gaussian's standard deviation, in positions")] = 1.0,
        sigmoid: SigmoidPlace = "before",
        interior_softmax: Annotated[bool, Field(description="the interior factors pass through a softmax")] = False,
        entropy_softmax: EntropySoftmax = "summed",
        entropy_range: EntropyRange = "unit",
    ) -> None:
        super().__init__()
        self.poolings = _poolings({"gap": gap, "gmp": gmp, "gep": gep})
        self.arrangement = arrangement
        self.sigmoid = sigmoid
        self.gauss = (gauss_size, gauss_sigma)
        self.entropy_softmax = entropy_softmax
        self.entropy_range = entropy_range
        sides, number = _SIDES[arrangement], len(self.poolings)
        hidden = hidden_width(channels, reduction)
        self.channel: _Channel | None = None
        self.spatial: _Spatial | None = None
        self.exterior: _CollaFactors | None = None
        if POSITIONS in sides:
            self.channel = _Channel(channels, hidden, _CollaFactors(number, interior, interior_softmax))
        if CHANNELS in sides:
            self.spatial = _Spatial(kernel_size, gap, _CollaFactors(number, interior, interior_softmax))
        if arrangement == "parallel":
            self.exterior = _CollaFactors(2, exterior, softmax=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x weighed, (B, C, H, W)."""
        if self.exterior is not None:
            return self._weigh_both(x_BCHW, self.exterior(x_BCHW))
        for side in _SIDES[self.arrangement]:
            x_BCHW = x_BCHW * self._logits(x_BCHW, (side,))[0].sigmoid().to(x_BCHW.dtype)
        return x_BCHW

    def colla_factors(self) -> dict[str, float]:
        """Return the factors as they act, after a softmax where there is one: C_w, S_w, C_alpha, .. S_gamma.

        Those that are not there (a pooling that is off, no second side) are left out; fixed ones are in.
        """
        values: dict[str, float] = {}
        if self.exterior is not None:
            values |= dict(zip(("C_w", "S_w"), self.exterior.read(), strict=True))
        for side, network in (("C", self.channel), ("S", self.spatial)):
            if network is not None:
                names = [f"{side}_{_FACTORS[pooling]}" for pooling in self.poolings]
                values |= dict(zip(names, network.factors.read(), strict=True))
        return values

    @staticmethod
    def effective(knobs: dict[str, Any], *, channels: int, resolution: tuple[int, int], **_: object) -> dict[str, Any]:
        """Describe what is built: what is not there has no knobs, the Gaussian ends where the map does."""
        sides = _SIDES[knobs["arrangement"]]
        poolings = _effective_poolings(knobs, sides, resolution)
        built: dict[str, Any] = {"arrangement": knobs["arrangement"]}
        if POSITIONS in sides:
            built["hidden"] = hidden_width(channels, knobs["reduction"])
        if CHANNELS in sides:
            built["kernel_size"] = knobs["kernel_size"]
        if knobs["arrangement"] == "parallel":
            built |= {knob: knobs[knob] for knob in ("exterior", "sigmoid")}
        if "gmp" in poolings:
            built["gauss"] = _effective_gauss(knobs, sides, resolution)
        if "gep" in poolings:
            built["entropy_range"] = knobs["entropy_range"]
            # A min-max over one value has one result.
            if (POSITIONS in sides and channels > 1) or (CHANNELS in sides and resolution != (1, 1)):
                built["entropy_softmax"] = knobs["entropy_softmax"]
        softmax = knobs["interior_softmax"]
        learned = knobs["interior"] and not (softmax and len(poolings) == 1)
        return built | {"poolings": poolings, "interior": (learned, learned and softmax)}

    def _weigh_both(self, x_BCHW: Tensor, shares: Tensor) -> Tensor:
        channel_BC11, spatial_B1HW = (logits.to(shares.dtype) for logits in self._logits(x_BCHW, _SIDES["parallel"]))
        if self.sigmoid == "before":
            weights = (channel_BC11.sigmoid() * shares[0], spatial_B1HW.sigmoid() * shares[1])
        else:
            spatial_B1HW = spatial_B1HW.sigmoid() if self.sigmoid == "twice" else spatial_B1HW
            weights = ((channel_BC11 * shares[0]).sigmoid(), (spatial_B1HW * shares[1]).sigmoid())
        return weigh_two_sided(x_BCHW, *weights)

    def _logits(self, x_BCHW: Tensor, sides: tuple[Axes, ...]) -> list[Tensor]:
        """Return C_A for `POSITIONS`, S_A for `CHANNELS`."""
        logits = []
        for side, pooled in zip(sides, self._pool(x_BCHW, sides), strict=True):
            network = self.channel if side == POSITIONS else self.spatial
            assert network is not None
            logits.append(network(pooled))
        return logits

    def _pool(self, x_BCHW: Tensor, sides: tuple[Axes, ...]) -> list[list[Tensor]]:
        """Return for each side what is pooled over it: mean, maximum, normalised entropy, those that are on."""
        pooled: dict[str, list[Tensor]] = {}
        if "gep" in self.poolings:
            means, entropies = _means_and_entropies(x_BCHW, sides, self.entropy_softmax)
            pooled["gap"] = means
            pooled["gep"] = [
                _normalise(values, _OTHER_SIDE[side], self.entropy_range)
                for values, side in zip(entropies, sides, strict=True)
            ]
        elif "gap" in self.poolings:
            pooled["gap"] = [x_BCHW.mean(side, keepdim=True) for side in sides]
        if "gmp" in self.poolings:
            pooled["gmp"] = blurred_maxima(x_BCHW, sides, *self.gauss)
        return [[pooled[name][i] for name in self.poolings] for i in range(len(sides))]


class _CollaFactors(nn.Module):
    """Weights of `number` things: learned from 0, through a softmax or not, or fixed at 1 / number."""

    def __init__(self, number: int, learned: bool, softmax: bool) -> None:
        super().__init__()
        self.number = number
        self.softmax = softmax
        # The softmax of one number is 1.
        needed = learned and not (softmax and number == 1)
        self.values = nn.Parameter(torch.zeros(number)) if needed else None

    def forward(self, like: Tensor) -> Tensor:
        """Return the weights as they act, in float32 or better, where `like` is."""
        if self.values is None:
            return widen(like.new_empty(0)).new_full((self.number,), 1 / self.number)
        return widen(self.values).softmax(0) if self.softmax else widen(self.values)

    def read(self) -> list[float]:
        with torch.no_grad():
            values: list[float] = self(torch.empty(0)).tolist()
        return values


class _Channel(nn.Module):
    """C_A of eq. 5 from poolings (B, C, 1, 1)."""

    def __init__(self, channels: int, hidden: int, factors: _CollaFactors) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)
        self.factors = factors

    def forward(self, pooled: list[Tensor]) -> Tensor:
        pooled_PBC = torch.stack([values_BC11.flatten(1) for values_BC11 in pooled]).to(self.squeeze.weight.dtype)
        hidden_PBR = functional.relu(self.squeeze(pooled_PBC))
        # The second layer is linear: weighing its inputs weighs its outputs.
        mixed_BR = (hidden_PBR * self.factors(hidden_PBR)[:, None, None]).sum(0)
        logits_BC: Tensor = self.excite(mixed_BR.to(self.excite.weight.dtype))
        return logits_BC[:, :, None, None]


class _Spatial(nn.Module):
    """S_A of eq. 7 from poolings (B, 1, H, W); the mean, if it is there, comes first and is subtracted."""

    def __init__(self, kernel_size: int, has_mean: bool, factors: _CollaFactors) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.has_mean = has_mean
        self.factors = factors

    def forward(self, pooled: list[Tensor]) -> Tensor:
        terms = [values * factor for values, factor in zip(pooled, self.factors(pooled[0]), strict=True)]
        total_B1HW = sum(terms[1:], start=-terms[0] if self.has_mean else terms[0])
        return convolve_single_channel(total_B1HW.to(self.conv.weight.dtype), self.conv.weight)


def _poolings(knobs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the poolings that are on."""
    on = tuple(name for name in _FACTORS if knobs[name])
    if not on:
        raise InputError("cat has no pooling: gap, gmp and gep are all false; set at least one of them to true")
    return on


def _effective_poolings(
    knobs: Mapping[str, Any], sides: tuple[Axes, ...], resolution: tuple[int, int]
) -> tuple[str, ...]:
    """Return the poolings that are on; the maximum of one position, where only such are pooled, is its mean."""
    on = _poolings(knobs)
    if sides != (POSITIONS,) or resolution != (1, 1):
        return on
    if on == ("gap", "gmp") and not knobs["interior"]:
        return ("gap",)
    return on if "gap" in on else tuple("gap" if name == "gmp" else name for name in on)


def _effective_gauss(
    knobs: Mapping[str, Any], sides: tuple[Axes, ...], resolution: tuple[int, int]
) -> tuple[int, float]:
    """Return size and sigma of the Gaussian: taps that never meet the map do nothing, nor does one tap's sigma."""
    longest = max(resolution) if CHANNELS in sides else resolution[0]
    size = min(knobs["gauss_size"], 2 * longest - 1)
    return (size, knobs["gauss_sigma"]) if size > 1 else (1, 1.0)


def _means_and_entropies(x_BCHW: Tensor, sides: tuple[Axes, ...], softmax: str) -> tuple[list[Tensor], list[Tensor]]:
    if softmax == "summed":
        pairs = mean_and_entropy(x_BCHW, sides)
        return [mean for mean, _ in pairs], [values for _, values in pairs]
    means = [x_BCHW.mean(side, keepdim=True) for side in sides]
    return means, [entropy(x_BCHW, _OTHER_SIDE[side], side) for side in sides]


def _normalise(entropies: Tensor, over: Axes, target: str) -> Tensor:
    """Min-max each image's entropies (eq. 4)."""
    low, high = entropies.amin(over, keepdim=True), entropies.amax(over, keepdim=True)
    unit = (entropies - low) / (high - low + _EPSILON)
    return unit if target == "unit" else 2 * unit - 1
