"""Modules at a small size, and what to feed them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.attention import create, entry

CHANNELS = 16
SOURCES = (8, 4)
SIZE = (5, 7)
Make = Callable[..., nn.Module]
Feed = Callable[..., tuple[Any, ...]]


@pytest.fixture
def make() -> Make:
    """Return `make(name, init=..., **knobs)`: the seeded module at `CHANNELS`, 4 hidden units by default.

    A module of kind `weights` stands for a 3x3 convolution that keeps width and size.
    """

    def make(name: str, size: tuple[int, int] = SIZE, **knobs: Any) -> nn.Module:
        narrow = {"reduction": CHANNELS // 4} if "reduction" in entry(name).knobs else {}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            place: dict[str, Any] = {"channels": CHANNELS}
            if entry(name).kind == "bridge":
                place["source_channels"] = SOURCES
            if entry(name).kind == "weights":
                place = {"conv": nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)}
            return create(name, **place, resolution=size, **narrow | knobs)

    return make


@pytest.fixture
def feed() -> Feed:
    """Return `feed(name, size=(5, 7), batch=6)`: seeded inputs for the module, the first in its shape."""

    def feed(name: str, size: tuple[int, int] = SIZE, batch: int = 6) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(1)

        def draw(channels: int, *size: int) -> Tensor:
            return torch.randn(batch, channels, *size, generator=generator)

        x = draw(CHANNELS, *size)
        more: dict[str, tuple[Any, ...]] = {
            "bridge": ([draw(SOURCES[0], 9, 9), draw(SOURCES[1], *size)],),
            "merge": (draw(CHANNELS, *size),),
            "recurrent": ((draw(CHANNELS), draw(CHANNELS)),),
        }
        return (x, *more.get(entry(name).kind, ()))

    return feed


@pytest.fixture
def stir() -> Callable[[nn.Module], nn.Module]:
    """Return `stir(module)`: every parameter and running statistic seeded away from where modules start."""

    def stir(module: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
            for name, buffer in module.named_buffers():
                if name.endswith("running_mean"):
                    buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.5)
                if name.endswith("running_var"):
                    buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
        return module

    return stir
