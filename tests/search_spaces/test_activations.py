"""Activations: counted by hand for a host, and the same for the parts as for the whole network."""

import numpy as np
import pytest
import torch

from search_spaces import Architecture, HostConfig, SearchSpace
from search_spaces.activations import _count, measure_activations

RESNET20 = HostConfig(name="resnet20", classes=10, input=32, channels=3)


def whole(architecture: Architecture) -> tuple[int, int]:
    network = architecture.build(0).to("meta")
    host = architecture.host
    found = _count(network, torch.empty(1, host.channels, host.input, host.input, device="meta"))
    return found.written, found.kept


def test_a_resnet_keeps_what_its_convolutions_and_its_classifier_read() -> None:
    # All convolutions but the first, which reads the image, read 16 channels of 32x32 (the six of the first stage and
    # the first of the second), 32 of 16x16 (five, and the first of the third), or 64 of 8x8 (five); the classifier 64.
    expected = 7 * 16 * 32**2 + 6 * 32 * 16**2 + 5 * 64 * 8**2 + 64
    assert measure_activations(Architecture.of(RESNET20, {})).kept == expected


def test_an_se_gate_writes_its_squeeze_its_excitation_and_the_gated_map() -> None:
    bare = measure_activations(Architecture.of(RESNET20, {}))
    placed = Architecture.from_dict(
        {"host": {"name": "resnet20"}, "placement": {"layer1.0/branch": {"module": "se", "reduction": 4}}}
    )
    added = measure_activations(placed) - bare
    # Mean (16), two fully connected layers (4, 16), ReLU (4), sigmoid (16), product.
    assert added.written == 16 + 4 + 4 + 16 + 16 + 16 * 32**2
    assert added.kept == 16 + 4


@pytest.mark.parametrize("modules", [{"none": {}, "se": {}, "cbam": {}, "ba": {}}, {"none": {}, "bam": {}, "eca": {}}])
def test_the_parts_add_up_to_the_whole_network(modules: dict[str, object]) -> None:
    at = "*/branch" if "ba" in modules else "*/end"
    space = SearchSpace.from_dict({"host": {"name": "resnet20"}, "choices": [{"at": at, "modules": modules}]})
    generator = np.random.default_rng(0)
    for _ in range(3):
        architecture = space.sample(generator)
        found = measure_activations(architecture)
        assert found.written == whole(architecture)[0]
        assert found.kept <= whole(architecture)[1]


def test_a_host_s_own_attention_that_is_replaced_does_not_count() -> None:
    host = {"name": "mobilenet_v3_small", "classes": 10, "input": 32}
    removed = Architecture.from_dict({"host": host, "placement": {"*/own": {"module": "remove"}}})
    assert removed.items
    found = measure_activations(removed)
    assert found.written == whole(removed)[0]
    assert found.kept <= whole(removed)[1]


def test_a_replaced_convolution_counts_once() -> None:
    placed = Architecture.from_dict({"host": {"name": "resnet20"}, "placement": {"layer2.1/conv1": {"module": "aw"}}})
    found = measure_activations(placed)
    assert found.written == whole(placed)[0]
    assert found.kept <= whole(placed)[1]
