"""The table of really trained placements that `make_table.py` makes, read and checked."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces import SearchSpace
from search_spaces.errors import InputError

Floats = npt.NDArray[np.float64]
TABLE = Path(__file__).parent / "tables" / "digits-placements.jsonl.gz"


@dataclass(frozen=True)
class Measured:
    """One quantity of the validation images, of every architecture with every seed."""

    at: Mapping[int, Floats]
    """After a training of so many epochs, cooled down: (architectures, seeds)."""
    after: Floats
    """After each epoch of a whole training, (architectures, seeds, epochs): what a raw cut there would see."""


@dataclass(frozen=True)
class Table:
    """A whole space, trained; rows stand as `SearchSpace.at` numbers them."""

    space: SearchSpace
    lengths: tuple[int, ...]
    """Epochs of the rungs and of a whole training."""
    seeds: tuple[int, ...]
    """Those with which every architecture was trained."""
    accuracy: Measured
    loss: Measured
    params: Floats
    macs: Floats
    cpu_s: Mapping[int, Floats]
    """CPU seconds of the leg that ends at that length, (architectures, seeds)."""
    first_epoch: Mapping[int, int]
    """Of the leg that ends at that length: those before it are of the legs before."""
    row: Mapping[str, int]
    """From an architecture's hash."""
    num_validation: int
    made_on: Mapping[str, str]

    @property
    def full(self) -> int:
        """Epochs of a whole training."""
        return self.lengths[-1]


def read_table(path: Path = TABLE) -> Table:
    """Return the table, with the seeds that are whole.

    Raises:
        InputError: there is none, no seed is whole, or a number is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there; `python benchmarks/make_table.py` makes it")
    header, *lines = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    space, lengths = SearchSpace.from_dict(header["space"]), tuple(header["lengths"])
    found = {(tuple(line["at"]), line["seed"]): line for line in lines}
    architectures = [space.at(number) for number in range(space.size)]
    seeds = tuple(seed for seed in header["seeds"] if all((at, seed) in found for at in architectures))
    if not seeds:
        raise InputError(f"{path}: no seed is whole; `make_table.py` goes on where it stopped")
    grid = [[found[at, seed] for seed in seeds] for at in architectures]
    num_validation = header["trial"]["data"]["validation"]
    costs = {what: np.array([line[0][what] for line in grid], dtype=np.float64) for what in ("params", "macs")}
    return Table(
        space,
        lengths,
        seeds,
        _measured(grid, lengths, "hits", 1 / num_validation),
        _measured(grid, lengths, "loss", 1.0),
        **costs,
        cpu_s={n: np.array([[cell["legs"][str(n)]["cpu_s"] for cell in row] for row in grid]) for n in lengths},
        first_epoch={n: grid[0][0]["legs"][str(n)]["first_epoch"] for n in lengths},
        row={space.decode(at).hash: number for number, at in enumerate(architectures)},
        num_validation=num_validation,
        made_on=header["made_on"],
    )


def _measured(grid: Sequence[Sequence[dict[str, Any]]], lengths: Sequence[int], what: str, unit: float) -> Measured:
    legs = {n: np.array([[cell["legs"][str(n)][what] for cell in row] for row in grid]) * unit for n in lengths}
    after = np.full((*legs[lengths[-1]].shape[:2], lengths[-1]), np.nan)
    for n in lengths:  # a later leg goes on from the stable epochs: its own take the place of a cool-down
        first = n - legs[n].shape[2]
        after[:, :, first:n] = legs[n]
    if not np.isfinite(after).all() or not all(np.isfinite(leg).all() for leg in legs.values()):
        raise InputError(f"the table lacks {what} of some epoch")
    return Measured({n: leg[:, :, -1] for n, leg in legs.items()}, after)
