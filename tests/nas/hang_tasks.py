"""What the workers of the time limit's tests compute; they import it by name."""

import ctypes
from dataclasses import replace
from unittest import mock

from torch import nn

from nas.running.local_pool import Report
from nas.running.work import Task, run_task


def hang(task: Task, report: Report) -> object:
    """Train once without a limit, so that everything is imported, then with a network that hangs."""
    run_task(replace(task, time_limit=None), report)
    with mock.patch.object(nn.Conv2d, "forward", hold_the_lock):
        return run_task(task, report)


def hold_the_lock(*_: object) -> None:
    """Sleep for ten minutes in C, and let no other thread of Python run meanwhile."""
    ctypes.PyDLL(None).sleep(600)
