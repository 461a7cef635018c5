"""What a failed training failed of, and whether it is worth another try."""

import traceback
from typing import Literal

import torch

from search_spaces import InputError


class DivergedError(ArithmeticError):
    """A loss was not finite."""


Failure = Literal["input", "diverged", "memory", "time", "device", "worker", "crash"]
"""`input`: a mistake in what was asked for. `diverged`: a loss was not finite. `memory`: it ran out, with half the
batch at a time too. `time`: the training was ended at its time limit. `device`: the accelerator failed. `worker`: the
process died. `crash`: anything else."""

RETRYABLE: frozenset[Failure] = frozenset(("device", "worker", "crash"))
"""What another machine, or another moment, may mend; the others would come to the same again."""

MOST_CHARACTERS = 20_000
"""Of a traceback that is kept; compilers write longer ones."""

_FULL = (
    "can't allocate memory",  # the CPU's allocator has no exception type of its own
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_BROKEN = ("CUDA error", "cuDNN error", "HIP error")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the device or of the machine did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)


def breaks_device(error: BaseException) -> bool:
    """Whether the process may be unable to use its accelerator again: CUDA repeats most errors at every later call."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    accelerator_error = getattr(torch, "AcceleratorError", None)  # not in every version
    is_named = accelerator_error is not None and isinstance(error, accelerator_error)
    return is_named or any(words in str(error) for words in _BROKEN)


def failure_of(error: BaseException) -> Failure:
    """Return what an error that ended a training is."""
    if isinstance(error, InputError):
        return "input"
    if isinstance(error, DivergedError):
        return "diverged"
    if is_out_of_memory(error):
        return "memory"
    return "device" if breaks_device(error) else "crash"


def in_one_line(error: BaseException) -> str:
    """Return an error's message, or what is its first line that is not empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")


def traceback_of(error: BaseException) -> str:
    """Return where an error was raised; of what is too long, its beginning and its end."""
    text = "".join(traceback.format_exception(error))
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
