"""Peak memory of a trial: on CUDA what torch allocated, on Linux what the process held.

What a Linux process holds depends a little on what it did before: the same ResNet-20 trial on CIFAR-10 took
1.02 to 1.08 GB at three points of a worker's life, of which 0.75 GB are the interpreter and its libraries.
"""

import ctypes
import gc
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


class PeakMemory:
    """Measures from its making on; one at a time per process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.method = "not measured on this system"
        """How it is measured, in words."""
        gc.collect()  # a network traced by torch.fx refers to itself and outlives its trial
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            torch.cuda.reset_peak_memory_stats(device)
            self.method = "torch.cuda.max_memory_allocated, images included"
        elif _reset_peak_rss():
            self.method = "peak resident memory of the process (VmHWM), interpreter and images included"

    def read(self) -> int | None:
        """Return the peak so far in bytes, or None if it cannot be measured here."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _peak_rss() if self.method.startswith("peak") else None


def _reset_peak_rss() -> bool:
    """Reset the peak that Linux keeps of a process; return whether that worked.

    Freed memory goes back to the system first, so that a warm worker does not report the trial before.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        (_PROCESS / "clear_refs").write_text("5")
        return _peak_rss() is not None
    except (OSError, AttributeError, TypeError):  # another C library, another system, or not allowed
        return False


def _peak_rss() -> int | None:
    for line in (_PROCESS / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
