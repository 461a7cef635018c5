"""Times two things in turn and finds the peak memory of one.

Time: each round times the one and the other, A B A B ... A, so that what slows the machine down slows down both; a
ratio is B over the mean of the A before and after it. Reported are the median of the ratios, their quartiles and n.
On CUDA its own events time it, on a CPU the wall clock or the process's CPU time (for a machine that others use
too). Short steps are repeated until they take 30 ms together.

Memory: the peak within one step, with the tensors that it starts from. On CUDA it is what
`torch.cuda.max_memory_allocated` says, less what else was allocated. On a CPU it is the largest sum of the sizes of
all live storages, seen after each operation that torch dispatches (byte for byte what torch's MemTracker says, which
needs torch.distributed); buffers that live within one operation, as those of oneDNN, are not seen.
"""

import gc
import platform
import shlex
import statistics
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trials.devices import describe_device

MIN_TIMED_S = 0.03
Step = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """Where and how to measure."""

    device: torch.device
    bf16: bool
    batch_size: int
    rounds: int
    """Ratios per median, at most."""
    seconds: float
    """Per median; at least 3 rounds are made."""
    clock: str
    """`wall` or `cpu`: what times a CPU."""

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def time_s(self, step: Step, repeats: int) -> float:
        """Return the seconds of one step."""
        if self.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            _repeat(step, repeats)
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3 / repeats
        clock = time.process_time if self.clock == "cpu" else time.perf_counter
        begin = clock()
        _repeat(step, repeats)
        return (clock() - begin) / repeats


@dataclass(frozen=True)
class Ratio:
    """Of times: `median` of n, and the quartiles; the medians of both times themselves."""

    median: float
    p25: float
    p75: float
    n: int
    base_ms: float
    ms: float

    def __str__(self) -> str:
        return f"{self.median:5.2f}  [{self.p25:.2f}, {self.p75:.2f}]"


def compare(setting: Setting, base: Step, step: Step) -> Ratio:
    """Time both in turn; see the file's caption."""
    for warm_up in (base, step):
        setting.time_s(warm_up, 1)
    round_s = setting.time_s(base, 1) + setting.time_s(step, 1)
    repeats = max(1, round(2 * MIN_TIMED_S / round_s))
    rounds = min(setting.rounds, max(3, int(setting.seconds / (round_s * repeats))))
    base_s, step_s = [setting.time_s(base, repeats)], []
    for _ in range(rounds):
        step_s.append(setting.time_s(step, repeats))
        base_s.append(setting.time_s(base, repeats))
    ratios = [2 * s / (before + after) for s, before, after in zip(step_s, base_s[:-1], base_s[1:], strict=True)]
    p25, median, p75 = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    times_ms = (statistics.median(times) * 1e3 for times in (base_s, step_s))
    return Ratio(*(round(value, 4) for value in (median, p25, p75)), len(ratios), *(round(t, 3) for t in times_ms))


def _repeat(step: Step, repeats: int) -> None:
    for _ in range(repeats):
        step()


class LiveStorages(TorchDispatchMode):
    """Sums the sizes of the storages that are alive, and keeps the largest sum (bytes)."""

    def __init__(self, *held: Tensor) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()
        self._see(held)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._see(tree_leaves(result))
        return result

    def _see(self, values: Any) -> None:
        for storage in (value.untyped_storage() for value in values if isinstance(value, Tensor)):
            key, size = storage._cdata, storage.nbytes()
            if key not in self._known:
                self._known.add(key)
                self.live += size
                weakref.finalize(storage, self._forget, key, size)
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def peak_memory(setting: Setting, step: Step, held: Sequence[Tensor]) -> int:
    """Return the peak of one step in bytes, with the tensors that it starts from; see the file's caption."""
    gc.collect()
    if setting.device.type == "cuda":
        step()  # the first one also chooses algorithms
        others = torch.cuda.memory_allocated(setting.device) - sum(tensor.nbytes for tensor in held)
        torch.cuda.reset_peak_memory_stats(setting.device)
        step()
        return torch.cuda.max_memory_allocated(setting.device) - others
    with LiveStorages(*held) as storages:
        step()
    return storages.peak


def about(setting: Setting) -> dict[str, Any]:
    """Return what was measured, on what and with what."""
    return {
        "schema": 1,
        "command": shlex.join(["python", *sys.argv]),
        "device": describe_device(setting.device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{package: installed(package) for package in ("torch", "torchvision", "timm")},
        },
        "precision": "bf16 autocast" if setting.bf16 else "fp32",
        "memory_format": "channels_last",
        "batch_size": setting.batch_size,
        "rounds": setting.rounds,
        "clock": "CUDA events" if setting.device.type == "cuda" else f"{setting.clock} time",
    }


def installed(package: str) -> str | None:
    """Return the version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
