"""From an encoded image to its pixels."""

import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from search_spaces import InputError


def decode(data: bytes, name: str, *, with_pillow: bool = False) -> Tensor:
    """Return an image as RGB (3, H, W), uint8; grey, CMYK and palettes are converted, transparency is dropped.

    torchvision decodes JPEG; Pillow what that does not read: one of ImageNet's files is a PNG, some are CMYK.

    Raises:
        InputError: it is damaged, or no image; the message has its name. As `jpeg_decoder` does.
    """
    if not with_pillow:
        read = jpeg_decoder()
        try:
            image: Tensor = read(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            return image
        except (RuntimeError, ValueError):
            pass  # Pillow says what is wrong
    return _pillow(data, name)


@cache
def jpeg_decoder() -> Callable[..., Any]:
    """Return torchvision's `decode_jpeg` to RGB.

    Raises:
        InputError: the installed torchvision has none: from 0.29 on it is deprecated.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError as error:
        raise InputError(f"this torchvision decodes no JPEGs ({error}); use `data: {{decoder: pillow}}`") from None
    return partial(decode_jpeg, mode=ImageReadMode.RGB)


def _pillow(data: bytes, name: str) -> Tensor:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: not a readable image, or damaged: {error}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)
