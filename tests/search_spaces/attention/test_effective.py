"""`effective`: equal for two settings exactly if the same network is built, by brute force."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.attention import create, effective, entry

CHANNELS = 11
GRIDS: dict[str, dict[str, list[Any]]] = {
    "se": {"reduction": [1, 2, 3, 4, 5], "bias": [True, False], "gate": ["sigmoid", "hard_sigmoid"]},
    "eca": {"kernel_size": [1, 3, 5, 21, 23]},
    "cbam": {"reduction": [2, 3, 4, 5], "pooling": ["avg", "max", "avg+max"], "spatial": [True, False],
             "kernel_size": [1, 3]},
    "bam": {"reduction": [2, 4, 5], "dilation": [1, 2, 3, 4, 5], "num_dilated": [1, 2],
            "branches": ["both", "channel", "spatial"], "combine": ["sum", "product", "max", "sigmoid_sum"],
            "identity": [True], "norm": ["all"]},
    "ba": {"reduction": [2, 3, 4, 5], "bridges": ["all", "first", "last"], "activation": ["relu", "silu"],
           "gate": ["sigmoid", "hard_sigmoid"]},
    "ms_cam": {"reduction": [2, 3, 4, 5], "context": ["global_local", "global_global", "local_local"]},
    "aff": {"reduction": [3, 4, 5], "context": ["global_local", "global_global", "local_local"],
            "factor": [1, 2]},
    "iaff": {"reduction": [3, 4, 5], "context": ["global_local", "global_global", "local_local"]},
}  # fmt: skip
BAM_REST = {"reduction": [4], "dilation": [2], "num_dilated": [1], "branches": ["both", "channel", "spatial"],
            "combine": ["sum", "max"], "identity": [True, False], "norm": ["all", "hidden"]}  # fmt: skip
CASES = [(name, GRIDS[name], size, sources) for name in GRIDS for size in ((1, 1), (4, 3))
         for sources in (((5, 6), (5, 5), (5,)) if name == "ba" else ((),))]  # fmt: skip
CASES += [("bam", BAM_REST, (4, 3), ())]


def settings(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def inputs(name: str, size: tuple[int, int], sources: tuple[int, ...]) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 6, CHANNELS, *size, generator=generator)
    bridged = [torch.randn(6, channels, *size, generator=generator) for channels in sources]
    return {"gate": (x,), "merge": (x, y), "bridge": (x, bridged)}[entry(name).kind]


def built(name: str, knobs: dict[str, Any], given: tuple[Any, ...], sources: tuple[int, ...]) -> tuple[Any, Tensor]:
    """Return the parameters' shapes, and outputs in train mode from two seeded sets of parameters."""
    extra = {"source_channels": sources} if sources else {}
    module = create(name, channels=CHANNELS, **extra, **knobs)
    outputs = []
    with torch.no_grad():
        for seed in (1, 2):
            generator = torch.Generator().manual_seed(seed)
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
            outputs.append(module(*given))
    return tuple(p.shape for p in module.parameters()), torch.stack(outputs)


def test_a_modules_grid_has_all_its_knobs() -> None:
    for name in GRIDS:
        assert set(GRIDS[name]) == set(entry(name).knobs)


@pytest.mark.parametrize(("name", "grid", "size", "sources"), CASES)
def test_effective_is_equal_exactly_if_shapes_and_output_are(name, grid, size, sources) -> None:
    given = inputs(name, size, sources)
    groups: dict[Any, tuple[Any, Tensor]] = {}
    for knobs in settings(grid):
        said = effective(name, knobs, channels=CHANNELS, source_channels=sources, resolution=size)
        shapes, output = built(name, knobs, given, sources)
        known = groups.setdefault(tuple(said.items()), (shapes, output))
        assert known[0] == shapes, knobs
        torch.testing.assert_close(output, known[1], rtol=1e-4, atol=1e-5)
    different = list(groups.values())
    for i, (shapes, output) in enumerate(different):
        for other_shapes, other in different[:i]:
            assert shapes != other_shapes or not torch.allclose(output, other, rtol=1e-4, atol=1e-5)
