"""`init: identity` in the network: placed into a trained host, every module changes nothing at first."""

import pytest
import torch
from torch import nn

from search_spaces import Architecture, HostConfig, InputError, find_sites
from search_spaces.attention import entry, names
from search_spaces.fitting import ModuleSpec, check_fit, make_spec

HOSTS = [
    HostConfig(name="resnet50", input=8, stem="cifar", classes=4, channels=1),
    HostConfig(name="mobilenet_v2", input=32, classes=4, channels=1),
]
NAMES = [name for name in names() if "/" not in name and entry(name).kind != "removal"]


def train_a_little(network: nn.Module, host: HostConfig) -> None:
    """Move weights and statistics away from where they start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        network.train()(torch.randn(8, host.channels, host.input, host.input, generator=generator))


def everywhere(host: HostConfig, name: str) -> dict[str, list[ModuleSpec]]:
    """Return the module at every site that takes it."""
    knobs = {"reduction": 4} if "reduction" in entry(name).knobs else {}
    spec = make_spec({"module": name, "init": "identity", **knobs})
    placed = {}
    for site in find_sites(host):
        try:
            check_fit(host, site, [spec])
        except InputError:
            continue
        placed[site.name] = [spec]
    return placed


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
@pytest.mark.parametrize("name", NAMES)
def test_at_every_place_it_takes_a_trained_hosts_output_stays_the_same(name: str, host: HostConfig) -> None:
    placed = everywhere(host, name)
    places = {site.place_kind for site in find_sites(host) if site.name in placed}
    there = {site.place_kind for site in find_sites(host)}
    assert places == there & {place.rstrip("*") for place in entry(name).places}
    bare = Architecture.of(host, {}).build(seed=1)
    train_a_little(bare, host)
    network = Architecture.of(host, placed).build(seed=1)
    missing, unexpected = network.load_state_dict(bare.state_dict(), strict=False)
    assert missing
    assert unexpected == []
    x = torch.randn(2, host.channels, host.input, host.input)
    torch.testing.assert_close(network.eval()(x), bare.eval()(x), rtol=1e-3, atol=1e-4)
