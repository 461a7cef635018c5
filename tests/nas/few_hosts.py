"""Hosts for tests: one that works, one that cannot be traced, one whose own code fails."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces.hosts import HostConfig, HostEntry, registry
from search_spaces.hosts.cifar_resnet import CifarResNet

GROWS, UNTRACEABLE, FAILS = "tiny8", "tiny_untraceable", "tiny_failing"


class Untraceable(nn.Module):
    """Looks at the values of its images, which a trace does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = self.conv(x)
        return torch.flatten(x, 1)


def _fail(_config: HostConfig) -> nn.Module:
    raise ZeroDivisionError("division by zero")


def with_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the hosts to those there are, for one test."""
    builders = {
        GROWS: lambda config: CifarResNet(8, classes=config.classes, channels=config.channels),
        UNTRACEABLE: lambda _config: Untraceable(),
        FAILS: _fail,
    }
    added = {
        name: HostEntry(name, "for tests", build, classes=10, input=8, stems=("cifar",))
        for name, build in builders.items()
    }
    names, own = (*registry.host_names(), *added), registry._own_entries() | added
    monkeypatch.setattr(registry, "_own_entries", lambda: own)
    for module in (
        "search_spaces.hosts",
        "search_spaces.hosts.registry",
        "search_spaces.hosts.config",
        "nas.cli.host_commands",
    ):
        monkeypatch.setattr(f"{module}.host_names", lambda: names)
