"""Which way to compute a convolution with a factor per image is used on a CUDA device: tried once for each shape.

Which is the fastest differs from device to device, and the kernels of `aw_triton` are compiled on the device that runs
them. So when a shape comes for the first time, every way that applies is run on random numbers, forward and backward.
One that fails, or whose output or gradients are not those of the reference, is left out with a warning; the fastest of
the rest is used from then on. (cuDNN's benchmark mode does the same among its algorithms.)
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From x, the weight and the factors to the output."""

ROUNDS = 5
TOLERANCES = {torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Of the largest number in the reference's tensor; both round every product."""
TOLERANCE = 2e-3
"""In float32, where a form may use TF32."""


@dataclass(frozen=True)
class Problem:
    """What a form is given, without the numbers."""

    device: torch.device
    dtype: torch.dtype
    x: tuple[int, ...]
    last: bool
    """x is in channels_last."""
    weight: tuple[int, ...]
    scale: tuple[int, ...]
    trains: bool
    """Gradients are wanted."""


_fastest: dict[tuple[object, ...], str] = {}


def fastest(problem: Problem, forms: Mapping[str, Form], reference: str, *further: object) -> str:
    """Return the name of the form to use for a problem; tried once in a process.

    Args:
        problem: the shapes.
        forms: by name; those that fail or differ are left out.
        reference: the name of the one that is taken to be right.
        further: what else, hashable, the forms depend on.
    """
    key = (problem, *forms, *further)
    if key not in _fastest:
        _fastest[key] = _try(problem, forms, reference)
    return _fastest[key]


def _try(problem: Problem, forms: Mapping[str, Form], reference: str) -> str:
    generator = torch.Generator(problem.device).manual_seed(0)
    inputs = [_draw(problem, shape, generator) for shape in (problem.x, problem.weight, problem.scale)]
    if problem.last:
        inputs[0] = inputs[0].to(memory_format=torch.channels_last)
    # Other parts of the training may run under other modes; here only the forms are looked at.
    with torch.enable_grad(), torch.autocast(problem.device.type, enabled=False):
        right = _run(forms[reference], inputs, problem.trains)
        times: dict[str, float] = {}
        reasons: dict[str, str] = {}
        for name, form in forms.items():
            try:
                if _agree(_run(form, inputs, problem.trains), right, problem.dtype):
                    times[name] = _seconds(form, inputs, problem)
                else:
                    reasons[name] = f"gives another result than {reference}"
            except Exception as error:  # a kernel that does not compile here must not end a training
                reasons[name] = f"does not run ({error})"
    for name, reason in reasons.items():
        warnings.warn(f"{name} {reason} and is not used for {problem}", stacklevel=3)
    return min(times, key=times.__getitem__, default=reference)


def _draw(problem: Problem, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    drawn = torch.randn(shape, device=problem.device, generator=generator)
    return drawn.to(problem.dtype).requires_grad_(problem.trains)


def _run(form: Form, inputs: list[Tensor], trains: bool) -> list[Tensor]:
    """Return the output and, if they are wanted, the gradients."""
    inputs = [tensor.detach().requires_grad_(trains) for tensor in inputs]
    output = form(*inputs)
    return [output, *torch.autograd.grad(output.square().sum(), inputs)] if trains else [output]


def _agree(found: list[Tensor], right: list[Tensor], dtype: torch.dtype) -> bool:
    tolerance = TOLERANCES.get(dtype, TOLERANCE)
    return all(
        bool((mine.float() - theirs.float()).abs().max() <= tolerance * theirs.float().abs().max())
        for mine, theirs in zip(found, right, strict=True)
    )


def _seconds(form: Form, inputs: list[Tensor], problem: Problem) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        _run(form, inputs, problem.trains)
        if problem.device.type == "cuda":
            torch.cuda.synchronize(problem.device)
        times.append(time.perf_counter() - start)
    return median(times[1:])
