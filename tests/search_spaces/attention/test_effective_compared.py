"""`effective` of the modules the papers compare with, by brute force."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.attention import create, effective, entry

CONTEXTS = ["global_local", "global_global", "local_local"]
GRIDS: dict[str, tuple[int, dict[str, list[Any]]]] = {
    "ge": (11, {"variant": ["theta_minus", "theta", "theta_plus"], "extent": ["global", 2, 4, 8],
                "reduction": [3, 4, 5]}),
    "gc": (11, {"reduction": [1, 2, 3, 4, 5], "pooling": ["attention", "average"],
                "fusion": ["add", "scale", "both"]}),
    "coord": (11, {"reduction": [1, 2, 3, 4, 5], "min_hidden": [1, 2, 3, 5]}),
    "simam": (3, {"e_lambda": [1e-4, 0.1, 1.0]}),
    "fca": (32, {"reduction": [7, 8, 9, 10], "num_frequencies": [1, 2, 4, 8, 16, 32],
                 "selection": ["top", "low", "bottom"]}),
    **{name: (11, {"reduction": [3, 4, 5], "context": CONTEXTS}) for name in ("ms_gau", "ms_se", "ms_sa")},
    "concat": (4, {}),
}  # fmt: skip
SIZES = [(1, 1), (2, 2), (2, 3), (4, 3), (1, 9), (8, 7)]


def built(name: str, knobs: dict[str, Any], channels: int, size: tuple[int, int]) -> tuple[Any, Tensor]:
    """Return the parameters' shapes, and outputs in train mode from two seeded sets of parameters."""
    module = create(name, channels=channels, resolution=size, **knobs)
    maps = torch.randn(2, 6, channels, *size, generator=torch.Generator().manual_seed(0))
    outputs = []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
        outputs.append(module(*maps) if entry(name).kind == "merge" else module(maps[0]))
    return tuple(p.shape for p in module.parameters()), torch.stack(outputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GRIDS)
@torch.no_grad()
def test_effective_is_equal_exactly_if_shapes_and_output_are(name, size) -> None:
    channels, grid = GRIDS[name]
    assert set(grid) == set(entry(name).knobs)
    groups: dict[Any, tuple[Any, Tensor]] = {}
    for values in product(*grid.values()):
        knobs = dict(zip(grid, values, strict=True))
        said = effective(name, knobs, channels=channels, resolution=size)
        shapes, output = built(name, knobs, channels, size)
        known = groups.setdefault(tuple(said.items()), (shapes, output))
        assert known[0] == shapes, knobs
        torch.testing.assert_close(output, known[1], rtol=1e-4, atol=1e-5)
    different = list(groups.values())
    for i, (shapes, output) in enumerate(different):
        for other_shapes, other in different[:i]:
            assert shapes != other_shapes or not torch.allclose(output, other, rtol=1e-4, atol=1e-5)
