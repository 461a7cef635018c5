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
