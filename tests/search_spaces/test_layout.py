"""Where modules and the host's tensors are in the graph of a network that was built."""

from typing import Any

import pytest
from torch import fx

from search_spaces import Architecture
from search_spaces.attention import entry
from search_spaces.build import lay_out

HOST = {"name": "resnet20", "classes": 10, "input": 8, "channels": 1}
BA = {"module": "ba", "reduction": 4}
PLACEMENTS: dict[str, dict[str, Any]] = {
    "bare": {},
    "gates": {
        "layer1.0/branch": [{"module": "se", "reduction": 4}, {"module": "eca"}],
        "layer1/end": {"module": "bam"},
    },
    "merges": {"*/merge": {"module": "aff"}, "*/out": {"module": "eca"}},
    "weights": {"*/conv2": {"module": "aw"}, "layer2.*/branch": {"module": "dia", "share": "a"}},
    "bridges": {"*/branch": {**BA, "bridges": "previous_attention"}},
}


@pytest.mark.parametrize("name", PLACEMENTS)
def test_every_module_and_every_tensor_of_the_host_is_found_in_the_network(name: str) -> None:
    architecture = Architecture.from_dict({"host": HOST, "placement": PLACEMENTS[name]})
    layout, network = lay_out(architecture.host, architecture.items), architecture.build(seed=1)
    assert isinstance(network, fx.GraphModule)
    nodes = {node.name: node for node in network.graph.nodes}
    assert [(each.site, each.spec) for each in layout.placed] == [
        (site, spec) for site, specs in architecture.items for spec in specs
    ]
    for each in layout.placed:
        assert each.call in nodes
        made = network.get_submodule(each.path)
        assert type(made) is entry(each.spec.module).cls
    assert set(layout.standing.values()) <= set(nodes)


def test_what_stands_at_a_tensor_is_the_last_module_there() -> None:
    architecture = Architecture.from_dict({"host": HOST, "placement": PLACEMENTS["gates"]})
    layout = lay_out(architecture.host, architecture.items)
    calls = {each.site: each.call for each in layout.placed}
    assert calls["layer1.0/branch"] in layout.standing.values(), "the later of two calls stands"
    assert calls["layer1/end"] in layout.standing.values()


def test_bare_hosts_stand_for_themselves() -> None:
    architecture = Architecture.from_dict({"host": HOST})
    layout = lay_out(architecture.host, ())
    assert layout.placed == ()
    assert all(name == standing for name, standing in layout.standing.items())
