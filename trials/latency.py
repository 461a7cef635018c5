"""Latency of a network: the time of a forward pass, measured on the device at hand."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trials.devices import describe_device


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass in float32, eval mode."""

    median_ms: float
    p10_ms: float
    """A tenth of the passes was faster."""
    p90_ms: float
    """A tenth of the passes was slower."""
    repeats: int
    batch_size: int
    device: str
    """In words, with the threads of a CPU."""
    threads: int
    """Of torch, which is all that matters on a CPU."""


@torch.inference_mode()
def measure_latency(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    device: torch.device,
    batch_size: int = 1,
    *,
    warmup_s: float = 0.2,
    budget_s: float = 1.0,
    max_repeats: int = 1000,
) -> Latency:
    """Time forward passes over random images, on CUDA by its own clock; the model's mode is restored.

    Args:
        model: on `device`.
        input_shape: (C, H, W).
        device: where the model is.
        batch_size: images per pass.
        warmup_s: time to pass before measuring, at least 3 passes.
        budget_s: time after which no further pass is started; at least 5 passes are timed.
        max_repeats: at most so many.
    """
    x_BCHW = torch.rand(batch_size, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    was_training = model.training
    model.eval()
    try:
        _repeat(model, x_BCHW, 3, warmup_s, max_repeats)
        times_ms = torch.tensor(_repeat(model, x_BCHW, 5, budget_s, max_repeats), dtype=torch.float64)
    finally:
        model.train(was_training)
    p10, median, p90 = times_ms.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
    return Latency(
        median, p10, p90, len(times_ms), batch_size, describe_device(device), threads=torch.get_num_threads()
    )


def _repeat(model: nn.Module, x_BCHW: Tensor, at_least: int, budget_s: float, at_most: int) -> list[float]:
    """Time passes until the budget is spent; return milliseconds."""
    time_pass = _time_on_cuda if x_BCHW.is_cuda else _time_on_host
    times_ms: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times_ms) < at_least or (len(times_ms) < at_most and time.perf_counter() < end):
        times_ms.append(time_pass(model, x_BCHW))
    return times_ms


def _time_on_host(model: nn.Module, x_BCHW: Tensor) -> float:
    start = time.perf_counter()
    model(x_BCHW)
    return (time.perf_counter() - start) * 1e3


def _time_on_cuda(model: nn.Module, x_BCHW: Tensor) -> float:
    with torch.cuda.device(x_BCHW.device):
        start: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        start.record()
        model(x_BCHW)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))
