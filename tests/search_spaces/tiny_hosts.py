"""Tiny networks that show one thing each, for tests of what is found in a graph."""

import torch
from torch import Tensor, nn

from search_spaces.graphs.tracing import HostGraph, trace
from search_spaces.sites import sites_of_graph
from search_spaces.sites.site_type import Site


def traced(network: nn.Module, size: int = 16) -> HostGraph:
    """Return the trace of a network that reads 3-channel images."""
    return trace(network.to("meta"), torch.empty(1, 3, size, size, device="meta"))


def sites_of(network: nn.Module, size: int = 16) -> dict[str, Site]:
    """Return the sites of a network by name, in order."""
    return {site.name: site for site in sites_of_graph(traced(network, size))}


def conv(channels_in: int, channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution with its norm and activation."""
    layer = nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class SE(nn.Module):
    """Squeeze-and-excitation, as hosts have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3), keepdim=True)).sigmoid()


class Spatial(nn.Module):
    """The second half of CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * self.conv(pooled).sigmoid()


class Coordinate(nn.Module):
    """Coordinate attention: two weights, neither computed from the map that the other has weighed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rows = nn.Conv2d(channels, channels, 1)
        self.columns = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.rows(x.mean(3, keepdim=True)).sigmoid()
        columns = self.columns(x.mean(2, keepdim=True)).sigmoid()
        return x * rows * columns


class HardSwish(nn.Module):
    """An activation that multiplies and adds, and keeps no weights; traced through for its second argument."""

    def forward(self, x: Tensor, shift: float = 3.0) -> Tensor:
        return x * nn.functional.relu6(x + shift) / 6


class Residual(nn.Module):
    """x + f(x), and an activation."""

    def __init__(self, *branch: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.after = after or nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x + self.branch(x))


class Inception(nn.Module):
    """Two branches side by side, put beside each other or added."""

    def __init__(self, channels_in: int, channels: int, *, add: bool = False) -> None:
        super().__init__()
        self.small = conv(channels_in, channels, 1)
        self.large = nn.Sequential(conv(channels_in, 2, 1), conv(2, channels))
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        both = [self.small(x), self.large(x)]
        return both[0] + both[1] if self.add else torch.cat(both, dim=1)


class Net(nn.Module):
    """A stem, a body, and the mean of each channel as the answer."""

    def __init__(self, *body: nn.Module, stem: nn.Module | None = None, channels: int = 4) -> None:
        super().__init__()
        self.stem = stem or conv(3, channels)
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x)).mean((2, 3))
