"""One process of a training, wherever it was started: here, by torchrun, or by a worker of a cluster."""

import os
from contextlib import nullcontext
from datetime import timedelta

import torch
from torch import distributed as dist

from search_spaces import InputError
from trials.devices import pick_device, seeded
from trials.failure import is_out_of_memory
from trials.retrain.folder import Folder
from trials.retrain.job import Job
from trials.retrain.place import Place
from trials.retrain.record import RetrainRecord
from trials.retrain.stopping import listening
from trials.retrain.training import OnEpoch, Training

_TIMEOUT = timedelta(minutes=30)
"""That processes wait for each other: the first may have to unpack an archive."""


def run_process(job: Job, place: Place, *, on_epoch: OnEpoch | None = None, shown: bool = True) -> RetrainRecord:
    """Train in this process, one of `place.world_size`; `torch.distributed` has joined them, if there are several.

    Args:
        job: what is trained, the same in all processes.
        place: of this process; see `Place.current`.
        on_epoch: called in the first process after each epoch; what it raises passes through.
        shown: whether the first process says on standard error how far it is.

    Returns:
        The record, which the first process has written to `job.out` with the weights.

    Raises:
        InputError: data, architecture and recipe do not fit, or memory ran out.
        DivergedError: the loss is not finite.
        StoppedTrainingError: SIGINT or SIGTERM came; a checkpoint is written.
    """
    lock = Folder(job).locked() if place.is_first else nullcontext()
    with lock, listening() as stop, seeded(job.seed * place.world_size + place.rank, place.device):
        try:
            return Training(job, place, stop, on_epoch, shown).run()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            told = f"out of memory on {place.device}"
    size = job.recipe.batch_size // (place.world_size * job.recipe.accumulation)
    raise InputError(
        f"{told} with {size} images at a time: give --accumulation {2 * job.recipe.accumulation} (now "
        f"{job.recipe.accumulation}) or more processes; the batch of {job.recipe.batch_size} stays, and the same "
        "command goes on from the last checkpoint"
    )


def joined_place(device: str) -> Place:
    """Join the processes that torchrun has started, as its variables of the environment say; return this one's place.

    Raises:
        InputError: there is no CUDA device for this process.
    """
    local = int(os.environ["LOCAL_RANK"])
    picked = pick_device(device)
    if picked.type == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError(f"process {local} of this machine has no GPU: there are {torch.cuda.device_count()}")
        picked = torch.device("cuda", local)
        torch.cuda.set_device(picked)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if picked.type == "cuda" else "gloo", timeout=_TIMEOUT)
    return Place.current(picked)


def is_joined() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "LOCAL_RANK" in os.environ


def run_joined(job: str, on_epoch: OnEpoch | None, shown: bool, threads: int) -> None:
    """Train in a process that torchrun has started; `job` is what `Job.to_json` wrote."""
    if threads:
        torch.set_num_threads(threads)
    read = Job.from_json(job)
    place = joined_place(read.device)
    try:
        run_process(read, place, on_epoch=on_epoch, shown=shown)
    finally:
        dist.destroy_process_group()
