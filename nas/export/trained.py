"""A trained network that is exported, whatever trained it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn

from search_spaces import Architecture
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Recorded:
    """What the record of a training says of these very weights."""

    metric: str
    """`accuracy`, `miou`, or what else the training was judged by."""
    value: float
    split: str
    """The images that it was measured on."""
    num_images: int | None
    """How many these were; None if the record does not say."""
    precision: str
    device: str
    """In words."""


class TrainedImages(Protocol):
    """The images that a network was trained and scored on, found again from its record."""

    @property
    def identity(self) -> dict[str, Any]:
        """Plain data from which another process finds them (see `images.restore`)."""
        ...

    def score(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the metrics of a network on the held-out images, measured as the training measured them.

        Raises:
            InputError: the images are not there.
        """
        ...

    def held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the held-out images, normalised, with their labels (of images or of pixels), on the CPU.

        Raises:
            InputError: the images are not there, or have no labels of this kind.
        """
        ...

    def training(self, count: int) -> Iterator[Tensor]:
        """Yield batches of training images, normalised, so many in all. Raises InputError as `held_out`."""
        ...


@dataclass(frozen=True)
class Trained:
    """A network with its weights and what is known of them."""

    architecture: Architecture
    weights: Path
    record: dict[str, Any]
    """How it was trained and measured, as `record.json` has it."""
    rows: tuple[tuple[str, str], ...]
    """What was measured, as lines of a table for a reader."""
    origin: str
    """Where it comes from, a sentence."""
    recorded: Recorded | None
    images: TrainedImages
    mean: tuple[float, ...]
    """Per channel, of images scaled to [0, 1]."""
    std: tuple[float, ...]
    classes: tuple[str, ...]


def read_metadata(weights: Path) -> dict[str, Any]:
    """Return `mean`, `std` and `classes` from a file of weights that a training has written.

    Raises:
        InputError: it does not say them.
    """
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata() or {}
    missing = [name for name in ("mean", "std", "classes") if name not in metadata]
    if missing:
        raise InputError(f"{weights} does not say its {' and '.join(missing)}, which an export needs")
    return {name: tuple(json.loads(metadata[name])) for name in ("mean", "std", "classes")}
