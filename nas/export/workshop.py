"""What every format of an export is made from, and how it is compared with the trained network."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.export.errors import ExportError
from nas.export.trained import Trained
from reports.wording import plural
from search_spaces import HostConfig
from trials.weights import load_weights

TOLERANCE = 1e-5
"""Largest allowed difference of a logit from the trained network's, relative to its largest logit."""


@dataclass(frozen=True, eq=False)
class Workshop:
    """An export that is being made."""

    folder: Path
    """With the files that are done so far; a format writes its own here."""
    trained: Trained

    @property
    def host(self) -> HostConfig:
        """The network's host."""
        return self.trained.architecture.host

    @property
    def is_detector(self) -> bool:
        """Whether it takes lists of images and answers boxes."""
        return bool(self.host.traced_part)

    @cached_property
    def network(self) -> nn.Module:
        """The trained network on the CPU, in eval mode."""
        network = self.trained.architecture.build()
        load_weights(network, self.trained.weights)
        return network.eval()

    def images(self, count: int) -> Tensor:
        """Return random images as the network reads them."""
        generator = torch.Generator().manual_seed(count)
        return torch.randn(count, self.host.channels, self.host.input, self.host.input, generator=generator)

    def compare(self, what: str, found: Tensor, images: Tensor, tolerance: float = TOLERANCE) -> str:
        """Return in words how far logits are from the trained network's on the same images.

        Raises:
            ExportError: further than `tolerance`.
        """
        with torch.no_grad():
            expected = self.network(images)
        return compare(what, found, expected, tolerance)


def compare(what: str, found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> str:
    """Return in words how far values are from those that are expected. Raises ExportError: too far, or not as many."""
    if found.shape != expected.shape:
        raise ExportError(f"{what} answers {tuple(found.shape)} in the place of {tuple(expected.shape)}")
    scale, difference = float(expected.abs().max()), float((found - expected).abs().max())
    if not difference <= tolerance * scale:
        raise ExportError(f"{what} differs from the trained network by {difference:.3g} (largest logit {scale:.3g})")
    return (
        f"{what}: largest difference {difference:.1e} on {plural(len(found), 'random image')} (logits to {scale:.1f})"
    )
