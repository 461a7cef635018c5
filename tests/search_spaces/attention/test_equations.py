"""Each module against its paper's equations, written out image by image and channel by channel."""

import math

import pytest
import torch
from torch import Tensor, nn


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def norm(layer: nn.Module, channel: int, value: float) -> float:
    """Batch normalisation in eval mode, for one channel."""
    mean, variance = layer.running_mean[channel].item(), layer.running_var[channel].item()
    scale, shift = layer.weight[channel].item(), layer.bias[channel].item()
    return (value - mean) / math.sqrt(variance + 1e-5) * scale + shift


def linear(layer: nn.Module, z: list[float]) -> list[float]:
    """A linear layer or a 1x1 convolution, at one position."""
    weight = layer.weight.detach().flatten(1)
    bias = [0.0] * len(weight) if layer.bias is None else layer.bias.tolist()
    return [sum(w * v for w, v in zip(row, z, strict=True)) + b
            for row, b in zip(weight.tolist(), bias, strict=True)]  # fmt: skip


def relu(z: list[float]) -> list[float]:
    return [max(v, 0.0) for v in z]


def normed(layer: nn.Module, z: list[float]) -> list[float]:
    return [norm(layer, channel, v) for channel, v in enumerate(z)]


def means(x_CHW: Tensor) -> list[float]:
    return [sum(channel.flatten().tolist()) / channel.numel() for channel in x_CHW]


def scaled(x_CHW: Tensor, weights: list[float]) -> Tensor:
    return torch.stack([channel * weight for channel, weight in zip(x_CHW, weights, strict=True)])


def per_image(function, *inputs) -> Tensor:
    return torch.stack([function(*(i[n] for i in inputs)) for n in range(len(inputs[0]))])


def convolve(conv: nn.Conv2d, x_CHW: Tensor) -> Tensor:
    """A zero-padded, dilated convolution, tap by tap; keeps the size."""
    height, width = x_CHW.shape[1:]
    reach = conv.kernel_size[0] // 2
    out = torch.zeros(conv.out_channels, height, width)
    if conv.bias is not None:
        out += conv.bias.detach()[:, None, None]
    for i in range(height):
        for j in range(width):
            for a in range(-reach, reach + 1):
                for b in range(-reach, reach + 1):
                    p, q = i + a * conv.dilation[0], j + b * conv.dilation[0]
                    if 0 <= p < height and 0 <= q < width:
                        out[:, i, j] += conv.weight.detach()[:, :, a + reach, b + reach] @ x_CHW[:, p, q]
    return out


def at_each_position(function, x_CHW: Tensor) -> Tensor:
    height, width = x_CHW.shape[1:]
    columns = [[torch.tensor(function(x_CHW[:, i, j].tolist())) for j in range(width)] for i in range(height)]
    return torch.stack([torch.stack(row, 1) for row in columns], 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_se_is_its_equation(bias, gate, make, feed, stir) -> None:
    module, (x,) = stir(make("se", bias=bias, gate=gate)).eval(), feed("se")
    squash = sigmoid if gate == "sigmoid" else lambda z: min(max(z + 3, 0.0), 6.0) / 6

    def equation(image: Tensor) -> Tensor:
        logits = linear(module.excite, relu(linear(module.squeeze, means(image))))
        return scaled(image, [squash(z) for z in logits])

    torch.testing.assert_close(module(x), per_image(equation, x))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_eca_is_its_equation(size, make, feed, stir) -> None:
    module, (x,) = stir(make("eca", kernel_size=size)).eval(), feed("eca")
    taps, reach = module.conv.weight.flatten().tolist(), size // 2

    def equation(image: Tensor) -> Tensor:
        z = [0.0] * reach + means(image) + [0.0] * reach
        logits = [sum(t * v for t, v in zip(taps, z[c : c + size], strict=True)) for c in range(len(image))]
        return scaled(image, [sigmoid(v) for v in logits])

    torch.testing.assert_close(module(x), per_image(equation, x))


@pytest.mark.parametrize("pooling", ["avg", "max", "avg+max"])
@pytest.mark.parametrize("spatial", [True, False])
def test_cbam_is_its_equation(pooling, spatial, make, feed, stir) -> None:
    module = stir(make("cbam", pooling=pooling, spatial=spatial, kernel_size=3)).eval()
    (x,) = feed("cbam")

    def equation(image: Tensor) -> Tensor:
        pooled = [means(image)] * ("avg" in pooling) + [[c.max().item() for c in image]] * ("max" in pooling)
        logits = [linear(module.excite, relu(linear(module.squeeze, z))) for z in pooled]
        image = scaled(image, [sigmoid(sum(parts)) for parts in zip(*logits, strict=True)])
        if not spatial:
            return image
        both = at_each_position(lambda values: [max(values), sum(values) / len(values)], image)
        logit = convolve(module.spatial.conv, both)
        return image * at_each_position(lambda v: [sigmoid(norm(module.spatial.norm, 0, v[0]))], logit)

    torch.testing.assert_close(module(x), per_image(equation, x))


@pytest.mark.parametrize("norms", ["all", "hidden"])
@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize(
    ("branches", "combine"),
    [
        *(("both", combine) for combine in ("sum", "product", "max", "sigmoid_sum")),
        ("channel", "sum"),
        ("spatial", "sum"),
    ],
)
def test_bam_is_its_equation(norms, identity, branches, combine, make, feed, stir) -> None:
    knobs = {"norm": norms, "identity": identity, "branches": branches, "combine": combine}
    module, (x,) = stir(make("bam", dilation=2, **knobs)).eval(), feed("bam", batch=2)

    def channel(image: Tensor) -> list[float]:
        first, hidden_norm, _, last, *end = module.channel
        logits = linear(last, relu(normed(hidden_norm, linear(first, means(image)))))
        return normed(end[0], logits) if norms == "all" else logits

    def spatial(image: Tensor) -> Tensor:
        layers = list(module.spatial)
        for conv, hidden_norm in ((layers[0], layers[1]), (layers[3], layers[4]), (layers[6], layers[7])):
            image = at_each_position(lambda v, n=hidden_norm: relu(normed(n, v)), convolve(conv, image))
        logit = convolve(layers[9], image)
        return at_each_position(lambda v: normed(layers[10], v), logit) if norms == "all" else logit

    def weight(c: float, s: float) -> float:
        if branches != "both":
            return sigmoid(c if branches == "channel" else s)
        joined = {"sum": c + s, "product": c * s, "max": max(c, s)}
        return sigmoid(c) + sigmoid(s) if combine == "sigmoid_sum" else sigmoid(joined[combine])

    def equation(image: Tensor) -> Tensor:
        c = channel(image) if branches != "spatial" else [0.0] * len(image)
        s = spatial(image)[0] if branches != "channel" else torch.zeros(image.shape[1:])
        weights = torch.tensor([[[weight(ci, v) for v in row] for row in s.tolist()] for ci in c])
        return image * identity + image * weights

    torch.testing.assert_close(module(x), per_image(equation, x))


@pytest.mark.parametrize("bridges", ["all", "first", "last"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_ba_is_its_equation(bridges, activation, make, feed, stir) -> None:
    module = stir(make("ba", bridges=bridges, activation=activation)).eval()
    x, sources = feed("ba")
    read = {"all": [0, 1], "first": [0], "last": [1]}[bridges]
    act = (lambda z: max(z, 0.0)) if activation == "relu" else (lambda z: z * sigmoid(z))

    def equation(image: Tensor, *others: Tensor) -> Tensor:
        weigh = module.weigh
        squeezed = [normed(weigh.own[1], linear(weigh.own[0], means(image)))]
        for (fc, bn), i in zip(weigh.bridge, read, strict=True):
            squeezed.append(normed(bn, linear(fc, means(others[i]))))
        joined = [act(sum(parts)) for parts in zip(*squeezed, strict=True)]
        return scaled(image, [sigmoid(z) for z in linear(weigh.excite, joined)])

    torch.testing.assert_close(module(x, sources), per_image(equation, x, *sources))


def multi_scale_weights(module: nn.Module, image: Tensor, context: str) -> Tensor:
    """M of AFF's eq. 3 for one image, (C, H, W)."""
    logits = []
    for layers, scale in zip(module.branches, context.split("_"), strict=True):
        seen = image
        if scale == "global":
            seen = torch.tensor(means(image))[:, None, None].expand_as(image)
        for conv, bn in (layers[0:2], layers[3:5]):
            seen = at_each_position(lambda v, c=conv, n=bn: normed(n, linear(c, v)), seen)
            seen = seen.clamp(min=0) if bn is layers[1] else seen
        logits.append(seen)
    return at_each_position(lambda v: [sigmoid(z) for z in v], logits[0] + logits[1])


contexts = pytest.mark.parametrize("context", ["global_local", "global_global", "local_local"])


@contexts
def test_ms_cam_is_its_equation(context, make, feed, stir) -> None:
    module, (x,) = stir(make("ms_cam", context=context)).eval(), feed("ms_cam", batch=2)
    expected = per_image(lambda image: image * multi_scale_weights(module.weights, image, context), x)
    torch.testing.assert_close(module(x), expected)


@contexts
@pytest.mark.parametrize("factor", [1, 2])
def test_aff_is_its_equation_with_the_shortcut_weighed_by_m(context, factor, make, feed, stir) -> None:
    module = stir(make("aff", context=context, factor=factor)).eval()
    branch, shortcut = feed("aff", batch=2)

    def equation(y: Tensor, x: Tensor) -> Tensor:
        m = multi_scale_weights(module.weights, x + y, context)
        return factor * (m * x + (1 - m) * y)

    torch.testing.assert_close(module(branch, shortcut), per_image(equation, branch, shortcut))


@contexts
def test_iaff_is_its_equation(context, make, feed, stir) -> None:
    module = stir(make("iaff", context=context)).eval()
    branch, shortcut = feed("iaff", batch=2)

    def equation(y: Tensor, x: Tensor) -> Tensor:
        m1 = multi_scale_weights(module.first_weights, x + y, context)
        m2 = multi_scale_weights(module.weights, m1 * x + (1 - m1) * y, context)
        return m2 * x + (1 - m2) * y

    torch.testing.assert_close(module(branch, shortcut), per_image(equation, branch, shortcut))


def test_cbam_starts_with_equal_weights_at_every_position(make, feed) -> None:
    (x,) = feed("cbam")
    torch.testing.assert_close(make("cbam")(x), 0.5 * make("cbam", spatial=False)(x))
