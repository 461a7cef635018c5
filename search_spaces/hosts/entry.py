"""What the tool knows of a host that can be named in a file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from search_spaces.hosts.config import HostConfig


@dataclass(frozen=True)
class HostEntry:
    """A host that can be named in a file."""

    name: str
    paper: str
    build: Callable[["HostConfig"], nn.Module]
    classes: int
    """The default number of classes."""
    input: int
    """The default height and width of the images in pixels."""
    stems: tuple[str, ...]
    """The stems it may have, the default first."""
    has_weights: bool = False
    """Pretrained weights are published for it."""
    widths: bool = False
    """It can be built with other widths than 1."""
    as_pretrained: Callable[[nn.Module], None] | None = None
    """Makes an untrained network compute what the pretrained one does, where that is more than other weights."""
    why_no_cifar_stem: Callable[[], str | None] | None = None
    """Says why it has no `cifar` stem, where that shows in its graph only; `stems` then says what may be."""
    width_divisor: int | None = None
    """Widths are multiples of 1/`width_divisor`, so that channels are whole; None: any, rounded as its paper does."""


def why_no_transformer(name: str) -> str:
    """Return why a vision transformer is no host."""
    return f"{name} is a vision transformer: it has no sites of these kinds, which are in blocks of convolutions"
