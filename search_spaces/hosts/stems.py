"""Stems: the first convolution of a host and the max-pooling after it, found in its graph, and changed.

The rule for `stem: cifar`, on any host that is made for large images: the first convolution, which must be strided,
becomes 3x3 with stride 1, and the max-pooling that follows it is dropped (He et al., 2015, section 4.2, begin so).
Between the two there may be norms, activations and convolutions of stride 1, as in deep stems, of which only the first
convolution changes, so that parameters keep their names. A stem that begins otherwise (VGG's first convolution
keeps the resolution, TResNet's follows a rearrangement of pixels) is not recognised, and `cifar` is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import fx, nn

from search_spaces.errors import InputError
from search_spaces.graphs.host_tracer import trace_in_both_modes
from search_spaces.hosts.meta import on_meta, to_meta


@dataclass(frozen=True)
class Stem:
    """Where the stem of a host is."""

    conv: str
    """The path of its first convolution."""
    pooling: str | None
    """The path of the max-pooling that `cifar` drops, if there is one."""


def find_stem(build: Callable[[], nn.Module]) -> Stem:
    """Return the stem of the host that `build` builds, by the rule of this file.

    Raises:
        InputError: the host cannot be traced, or has no such stem.
    """
    with on_meta():
        host = to_meta(build())
    graph = trace_in_both_modes(host)
    first = next((node for node in graph.nodes if isinstance(_layer(host, node), nn.Conv2d)), None)
    conv = _layer(host, first) if first else None
    if first is None or not isinstance(conv, nn.Conv2d):
        raise InputError("it has no convolution")
    path = str(first.target)
    if conv.stride == (1, 1):
        raise InputError(f"its first convolution, {path}, keeps the resolution")
    if conv.groups != 1 or type(conv).__name__ not in ("Conv2d", "Conv2dSame"):
        raise InputError(f"its first convolution, {path}, is not a plain one ({type(conv).__name__})")
    return Stem(path, _pooling_after(host, first))


def _layer(host: nn.Module, node: fx.Node) -> nn.Module | None:
    return host.get_submodule(str(node.target)) if node.op == "call_module" else None


def _pooling_after(host: nn.Module, node: fx.Node) -> str | None:
    """Return the path of the max-pooling that ends the stem, if one does before the resolution drops or paths fork."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        layer = _layer(host, node)
        pools = "max_pool" in str(getattr(node.target, "__name__", node.target)).lower()
        if isinstance(layer, nn.MaxPool2d):
            if layer.stride in (1, (1, 1)):
                raise InputError(f"the max-pooling after its stem, {node.target}, keeps the resolution")
            return str(node.target)
        if layer is None and pools:
            raise InputError("the max-pooling after its stem is a function, not a module")
        if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1):
            return None
        if len(node.all_input_nodes) != 1:
            return None
    return None


def make_cifar(host: nn.Module, stem: Stem, channels: int) -> None:
    """Give a host the stem for small images."""
    old = host.get_submodule(stem.conv)
    assert isinstance(old, nn.Conv2d)
    replace_first(host, stem.conv, nn.Conv2d(channels, old.out_channels, 3, padding=1, bias=old.bias is not None))
    if stem.pooling:
        host.set_submodule(stem.pooling, nn.Identity())


def make_channels(host: nn.Module, channels: int) -> None:
    """Let the first convolution of a torchvision host, the first by name, read so many channels."""
    path, old = next((path, module) for path, module in host.named_modules() if isinstance(module, nn.Conv2d))
    kept = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    replace_first(host, path, nn.Conv2d(channels, old.out_channels, bias=old.bias is not None, **kept))


def replace_first(host: nn.Module, path: str, conv: nn.Conv2d) -> None:
    """Put a new first convolution into a host."""
    # He et al.'s rule, by which nearly all hosts with batch norm draw their convolutions.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    host.set_submodule(path, conv)
