"""A convolution from one channel to one channel, as spatial attention has it.

On one core, 7x7 over (128, 1, 32, 32), forward and backward: 44 ms in float32 and 25 ms in bfloat16 as it is,
4.6 ms with the images as the channels of a depthwise convolution in float32.
"""

import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.attention.ops.pieces import is_eager_on_cpu


def convolve_single_channel(x_B1HW: Tensor, weight_11KK: Tensor) -> Tensor:
    """Return the convolution with an odd kernel, zeros outside, (B, 1, H, W).

    On a CPU autocast is left out: bfloat16 is slower there.
    """
    padding = weight_11KK.shape[-1] // 2
    if not is_eager_on_cpu(x_B1HW):
        return functional.conv2d(x_B1HW, weight_11KK, padding=padding)
    images_1BHW = x_B1HW.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    kernels_B1KK = weight_11KK.expand(len(x_B1HW), -1, -1, -1)
    with torch.autocast("cpu", enabled=False):
        convolved_1BHW = functional.conv2d(images_1BHW, kernels_B1KK, padding=padding, groups=len(x_B1HW))
    return convolved_1BHW.transpose(0, 1).contiguous()
