"""Reading images and label maps from files."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from search_spaces import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(path: str) -> Tensor:
    """Return an image in RGB (3, H, W), uint8. Raises InputError naming the file."""
    return torch.from_numpy(np.array(_open(path).convert("RGB"))).permute(2, 0, 1).contiguous()


def read_labels(path: str) -> Tensor:
    """Return the class of every pixel (H, W), uint8, of a palette or grey PNG. Raises InputError naming the file."""
    image = _open(path)
    if image.mode not in ("P", "L"):
        raise InputError(f"{path}: has mode {image.mode}; classes of pixels are a PNG with a palette, or grey")
    return torch.from_numpy(np.array(image))


def _open(path: str) -> "Image":
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, though the annotations name it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image, or damaged: {error}; replace the file") from None
