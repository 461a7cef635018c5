"""Devices: which one, what precision it trains in, its random numbers and what it is called."""

import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from search_spaces import InputError

Precision = Literal["fp32", "bf16"]


def pick_device(name: str) -> torch.device:
    """Return a device by its name: `auto` (CUDA if there is any, else the CPU), `cpu`, `cuda` or `cuda:<n>`.

    Raises:
        InputError: an unknown name, or a CUDA device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))]
    if name not in known:
        raise InputError(f"device {name!r} is not available; allowed here: {', '.join(known)}")
    if name in ("auto", "cuda"):
        return torch.device("cuda", torch.cuda.current_device()) if count else torch.device("cpu")
    return torch.device(name)


def pick_precision(asked: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision to train in; `auto` takes bfloat16 where the device computes with it."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "fp32"


def describe_device(device: torch.device) -> str:
    """Return the device in words: `NVIDIA H200`, or `AMD EPYC, 1 thread`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"


def describe_versions(device: torch.device) -> dict[str, str]:
    """Return the versions that a result on the device may depend on."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return versions | ({"cuda": str(torch.version.cuda)} if device.type == "cuda" else {})


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's random numbers (dropout, stochastic depth) from `seed` inside; outside they stay."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device.index] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def free_memory(device: torch.device) -> None:
    """Give back what a failed trial left behind."""
    gc.collect()
    if device.type == "cuda":
        # After some errors CUDA fails every later call; the reason of the first is recorded already.
        with suppress(RuntimeError), torch.cuda.device(device):
            torch.cuda.empty_cache()


@cache
def _cpu_info() -> dict[str, str]:
    """Return what Linux says of the first CPU; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cpu_flags() -> set[str]:
    return set(_cpu_info().get("flags", "").split())


def _cpu_name() -> str:
    return _cpu_info().get("model name") or platform.processor() or platform.machine()
