"""Starting a training: in this process, or in several that torchrun starts."""

import dataclasses
import logging
import os
import signal
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import torch

from search_spaces import InputError
from trials.devices import pick_device
from trials.failure import DivergedError
from trials.retrain.batching import Batching
from trials.retrain.folder import read_record
from trials.retrain.job import Job
from trials.retrain.place import Place
from trials.retrain.process import is_joined, joined_place, run_joined, run_process
from trials.retrain.record import RetrainRecord
from trials.retrain.stopping import StoppedTrainingError
from trials.retrain.training import OnEpoch

GRACE_S = 120
"""That processes have to write a checkpoint when they are told to stop; an older torch gives 30 whatever is asked."""


def retrain(job: Job, *, processes: int = 1, on_epoch: OnEpoch | None = None, shown: bool = False) -> RetrainRecord:
    """Train a network in full; go on where an earlier call for the same folder was interrupted.

    Args:
        job: what is trained, and where the result goes.
        processes: that train together, each on a GPU of its own or on the CPUs they share; torchrun starts them.
            Where it has started this process itself (several machines), it counts, and not this number.
        on_epoch: called after each epoch, in the first process: with several, it must be possible to pickle it.
        shown: say on standard error how far it is.

    Raises:
        InputError: data, architecture, recipe and machine do not fit, or memory ran out.
        DivergedError: the loss is not finite.
        StoppedTrainingError: SIGINT or SIGTERM came; the same call goes on.
    """
    if is_joined():
        return run_process(job, joined_place(job.device), on_epoch=on_epoch, shown=shown)
    device = pick_device(job.device)
    if processes == 1:
        return run_process(job, Place(device), on_epoch=on_epoch, shown=shown)
    if device.type == "cuda" and processes > torch.cuda.device_count():
        raise InputError(f"{processes} processes need as many GPUs; this machine has {torch.cuda.device_count()}")
    Batching(job.recipe.batch_size, processes, job.recipe.accumulation)  # refused before anything is started
    _start_processes(job, processes, device, on_epoch, shown)
    return read_record(job.out)


def _start_processes(job: Job, processes: int, device: torch.device, on_epoch: OnEpoch | None, shown: bool) -> None:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": uuid4().hex}
    if any(field.name == "shutdown_timeout" for field in dataclasses.fields(LaunchConfig)):
        settings["shutdown_timeout"] = GRACE_S
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0, **settings)
    threads = 0 if device.type == "cuda" else max(1, len(os.sched_getaffinity(0)) // processes)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what went wrong is told once, here
    try:
        elastic_launch(config, run_joined)(job.to_json(), on_epoch, shown, threads)
    except ChildFailedError as error:
        raise _failure(error.get_first_failure()[1].message) from None
    except SignalException as error:
        number = int(error.sigval)
        raise StoppedTrainingError(number, f"stopped; the same command goes on from there ({job.out})") from None


_MEANT: dict[str, Callable[[str], Exception]] = {
    "InputError": InputError,
    "DivergedError": DivergedError,
    "StoppedTrainingError": lambda text: StoppedTrainingError(signal.SIGTERM, text),
}
"""What a process's error is in the process that started it."""


def _failure(message: Any) -> Exception:
    """Return the error that a process has ended with; of one that is no user's, the traceback is the text."""
    if not isinstance(message, dict):
        return RuntimeError(f"a process of the training died: {message}")
    name, _, text = str(message["message"]).partition(": ")
    if name in _MEANT:
        return _MEANT[name](text)
    return RuntimeError(f"a process of the training failed: {message['extraInfo']['py_callstack']}")
