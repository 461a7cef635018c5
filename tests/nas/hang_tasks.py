"""What the workers of the time limit's tests compute; they import it by name."""

import ctypes
from unittest import mock

import torch
from torch import nn

from nas.local_pool import Report
from nas.work import Task, run_task
from search_spaces import Architecture

is_broken = False


def hang(task: Task, report: Report) -> object:
    """Train with a network that hangs."""
    with mock.patch.object(nn.Conv2d, "forward", hold_the_lock):
        return run_task(task, report)


def hold_the_lock(*_: object) -> None:
    """Sleep for ten minutes in C, and let no other thread of Python run."""
    ctypes.PyDLL(None).sleep(600)


def break_or_train(task: Task, report: Report) -> object:
    """Train with a device that fails for seed 0, and then at everything that its process does."""
    global is_broken
    if is_broken:
        raise RuntimeError("this process was to end")
    if task.seed:
        return run_task(task, report)
    is_broken = True
    with mock.patch.object(Architecture, "build", _broken):
        return run_task(task, report)


def _broken(*_: object) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    model.register_forward_pre_hook(fail)
    return model.to(torch.device("cpu"))
