"""Widths: what multiplies the channels of a host's stages, and which widths are refused.

A residual network's channels are multiplied exactly: a width that gives no whole number is refused. Hosts whose
paper rounds (MobileNetV2, EfficientNet: to multiples of 8) take any width and round as that paper does.
"""

import difflib
from collections.abc import Iterable

from search_spaces.errors import InputError
from search_spaces.hosts.entry import HostEntry


def scale(channels: int, width: float) -> int:
    """Multiply channels with a width. Raises ValueError if that is no whole number of one or more."""
    scaled = round(channels * width)
    if scaled < 1 or abs(scaled - channels * width) > 1e-6:
        raise ValueError(f"{channels} channels times a width of {width:g} is no whole number of channels")
    return scaled


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round channels to the nearest multiple of `divisor`, never down by more than a tenth.

    MobileNetV2's rounding (Sandler et al., 2018, arXiv:1801.04381, released code), which EfficientNet takes over.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def check_width(entry: HostEntry, width: float, entries: Iterable[HostEntry]) -> None:
    """Refuse a width that a host cannot have.

    Raises:
        InputError: the host has no other width than 1 (then the message names some that have, the nearest names
            first), or the width times the host's `width_divisor` is no whole number (then the nearest widths).
    """
    if width == 1:
        return
    if not entry.widths:
        having = [other.name for other in entries if other.widths]
        nearest = difflib.get_close_matches(entry.name, having, n=6, cutoff=0)
        raise InputError(
            f"{entry.name} has no width but 1; some that have: {', '.join(nearest)} ({len(having)} in all)"
        )
    if entry.width_divisor is None:
        return
    steps = width * entry.width_divisor
    below = int(steps)
    if below >= 1 and abs(steps - round(steps)) < 1e-6:
        return
    allowed = [step / entry.width_divisor for step in (below, below + 1) if step >= 1]
    raise InputError(
        f"{entry.name} has widths that are multiples of 1/{entry.width_divisor}, got {width:g}; "
        f"the nearest: {' and '.join(f'{each:.10g}' for each in allowed)}"
    )
