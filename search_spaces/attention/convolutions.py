"""What the modules that stand for a convolution ask of it."""

from typing import Any

from torch import nn

from search_spaces.errors import InputError


def check_plain(module: str, conv: nn.Conv2d) -> None:
    """Refuse what `conv_arguments` does not tell the whole of.

    Raises:
        InputError: padding other than with zeros, or a class of convolution that does more than convolve.
    """
    if conv.padding_mode != "zeros":
        raise InputError(f"{module} needs zero padding, the convolution has {conv.padding_mode!r}")
    if type(conv).forward is not nn.Conv2d.forward:
        raise InputError(f"{module} needs a plain convolution, {type(conv).__name__} computes something of its own")


def conv_arguments(conv: nn.Conv2d) -> dict[str, Any]:
    """Return what `functional.conv2d` is given besides input, weight and bias."""
    return {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups}


def reach(conv: nn.Conv2d) -> tuple[int, int]:
    """Return how far apart the first and the last tap are, in rows and columns: dilation * (size - 1)."""
    (height, width), (rows, columns) = conv.kernel_size, conv.dilation
    return rows * (height - 1), columns * (width - 1)


def zero_padding(conv: nn.Conv2d) -> tuple[int, int]:
    """Return the zeros added at each side, in rows and columns, where they are as many on both sides."""
    if conv.padding == "valid":
        return 0, 0
    rows, columns = (r // 2 for r in reach(conv)) if isinstance(conv.padding, str) else conv.padding
    return rows, columns
