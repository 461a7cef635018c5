"""Whether the kernels of `aw_triton` can run here."""

import importlib.util

import torch


def available() -> bool:
    """Say whether Triton is installed and PyTorch's current device an NVIDIA one of compute capability 8.0 or later."""
    if not torch.cuda.is_available() or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability() >= (8, 0) and importlib.util.find_spec("triton") is not None
