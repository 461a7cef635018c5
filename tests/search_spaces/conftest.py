"""What the tests of `search_spaces` share: a host of each family, modules that exist only in tests; and `tiny_hosts`
can be imported beside them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional

from search_spaces import Architecture, HostConfig
from search_spaces.attention import registry

sys.path.insert(0, str(Path(__file__).parent))

FAMILIES = [
    {"name": "resnet20", "input": 8, "channels": 1},
    {"name": "resnet18", "input": 8, "stem": "cifar"},
    {"name": "resnet50", "input": 16},
    {"name": "resnext50_32x4d", "input": 8, "stem": "cifar"},
    {"name": "mobilenet_v2", "input": 16, "stem": "cifar"},
    {"name": "mobilenet_v3_small", "input": 32},
    {"name": "efficientnet_b0", "input": 32, "channels": 1},
    {"name": "efficientnet_v2_s", "input": 32},
    {"name": "regnet_x_400mf", "input": 32},
    {"name": "regnet_y_400mf", "input": 16, "stem": "cifar", "channels": 1},
]


@pytest.fixture(params=FAMILIES, ids=lambda host: host["name"])
def family(request: pytest.FixtureRequest) -> HostConfig:
    """A host of each family (Wide-ResNet is ResNet-50 with wider convolutions), on tiny images."""
    return HostConfig(**{"classes": 4, **request.param})


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The smallest host there is: three stages of three blocks on 8x8 grey images."""
    return {"name": "resnet20", "classes": 3, "input": 8, "channels": 1}


@pytest.fixture
def place(tiny: dict[str, Any]) -> Any:
    """Return `place(placement, **host)`: an architecture on the tiny host."""

    def place(placement: dict[str, Any], **host: Any) -> Architecture:
        return Architecture.from_dict({"host": {**tiny, **host}, "placement": placement})

    return place


class ScaledConv(nn.Module):
    """A convolution whose output channels are scaled."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.scale = nn.Parameter(conv.weight.new_ones(conv.out_channels, 1, 1, 1))
        self.geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self.scale, self.bias, *self.geometry)


class Zero(nn.Module):
    """A gate that lets nothing through."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x * 0


@contextmanager
def _registered(name: str, kind: str, cls: type[nn.Module]) -> Iterator[str]:
    registry.register(name, kind=kind, paper="none")(cls)
    try:
        yield name
    finally:
        del registry._ENTRIES[name]


@pytest.fixture
def scaled_conv() -> Iterator[str]:
    """The name of a registered module of kind `weights`."""
    with _registered("scaled_conv_of_tests", "weights", ScaledConv) as name:
        yield name


@pytest.fixture
def zero() -> Iterator[str]:
    """The name of a registered gate that answers zeros."""
    with _registered("zero_of_tests", "gate", Zero) as name:
        yield name
