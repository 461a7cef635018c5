"""A full training on a Ray cluster: Ray Train starts its processes and joins them; everything else is `trials.retrain`.

When a worker or its node dies, Ray Train starts all processes again, and they go on from the newest checkpoint in the
training's folder, which every node must see. Ray keeps nothing. An error that another try would only repeat is left in
a file beside that folder, at which the processes of the next try end at once.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import ray
import torch
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from nas.experiment import Resources
from nas.ray_cluster.connection import start_ray
from nas.ray_cluster.settings import RaySettings
from search_spaces.errors import InputError
from trials.failure import DivergedError
from trials.retrain import Job, Place, RetrainRecord, read_history, read_record, run_process

MOST_RESTARTS = 20
"""How often processes may die before the training is given up; each time it goes on from the newest checkpoint."""

LOOK_EVERY_S = 1.0
"""How often the training's folder is looked at for new epochs."""

_ERROR = "error.json"
_ERRORS: dict[str, Callable[[str], Exception]] = {"InputError": InputError, "DivergedError": DivergedError}
"""What another try would only repeat."""


def retrain_on_cluster(
    job: Job, settings: RaySettings, processes: int, say: Callable[[str], None], cpus_per_process: float = 1
) -> RetrainRecord:
    """Train a network in full in `processes` workers of a cluster, each with a GPU if the cluster has any.

    Args:
        job: what is trained; its folder must lie where all nodes see it, and its `device` is `auto`, `cpu` or `cuda`.
        settings: the cluster; without an address, Ray is started on this machine.
        processes: that train together.
        say: is told of each epoch.
        cpus_per_process: for computing and for reading data.

    Raises:
        InputError: the cluster cannot be reached or has not so many GPUs, a node does not see the folder, or data,
            architecture and recipe do not fit.
        DivergedError: the loss is not finite.
        RuntimeError: processes died again and again.
    """
    owns_ray = not ray.is_initialized()
    if owns_ray:
        start_ray(settings, processes, Resources(cpu=cpus_per_process))
    try:
        use_gpu = _uses_gpu(job.device, processes)
        placed = replace(job, device="cuda" if use_gpu else "cpu", out=job.out.expanduser().absolute())
        with _beside(placed.out) as scratch, _following(placed, say):
            _fit(placed, scratch, processes, cpus_per_process, use_gpu)
        return read_record(placed.out)
    finally:
        if owns_ray:
            ray.shutdown()


def _uses_gpu(device: str, processes: int) -> bool:
    if device == "cpu":
        return False
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if gpus < processes and (gpus or device != "auto"):
        raise InputError(
            f"{processes} processes need as many GPUs, and the cluster has {gpus}; give --gpus {max(1, gpus)}"
        )
    return gpus > 0


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Yield a folder beside the training's, for Ray and for what processes tell; it is removed at the end."""
    scratch = out.with_name(f".{out.name}.ray")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made: {error.strerror}") from None
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _following(job: Job, say: Callable[[str], None]) -> Iterator[None]:
    """Tell of the epochs that are new in the training's folder, while Ray Train blocks."""
    ended, told = Event(), len(read_history(job.out))

    def follow() -> None:
        nonlocal told
        while True:
            is_last = ended.wait(LOOK_EVERY_S)
            for epoch in read_history(job.out)[told:]:
                say(f"epoch {epoch.epoch}{f'/{job.recipe.epochs}' if job.recipe.epochs else ''}: {epoch.in_words}")
                told += 1
            if is_last:
                return

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fit(job: Job, scratch: Path, processes: int, cpus: float, use_gpu: bool) -> None:
    """Train; raise what the processes have left."""
    threads = 0 if use_gpu else max(1, int(cpus))
    trainer = TorchTrainer(
        _train,
        train_loop_config={
            "job": job.to_json(),
            "scratch": str(scratch),
            "threads": threads,
        },
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=processes,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": cpus, "GPU": 1} if use_gpu else {"CPU": cpus},
        ),
        run_config=RunConfig(
            name="retrain", storage_path=str(scratch), failure_config=FailureConfig(max_failures=MOST_RESTARTS)
        ),
    )
    result = trainer.fit()
    told = (result.metrics or {}).get("error") or _told(scratch)
    if told:
        name, text = told
        raise _ERRORS[name](text)


def _told(scratch: Path) -> list[str] | None:
    """Return the name and text of the error that a process has left, if one has."""
    try:
        told: list[str] = json.loads((scratch / _ERROR).read_text())
    except FileNotFoundError:
        return None
    return told


def _train(config: dict[str, Any]) -> None:
    """Train in one process of Ray Train, which has joined it with the others."""
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    place, scratch = Place.current(get_device()), Path(config["scratch"])
    if not all(place.gather_json(scratch.is_dir())):
        text = f"not every node of the cluster sees {scratch.parent}; give --out a folder on a shared file system"
        train.report({"error": ["InputError", text]})
        return
    if any(place.gather_json(_told(scratch) is not None)):
        return
    try:
        run_process(Job.from_json(config["job"]), place, shown=False)
    except (InputError, DivergedError) as error:
        (scratch / f"{_ERROR}.{place.rank}").write_text(json.dumps([type(error).__name__, str(error)]))
        (scratch / f"{_ERROR}.{place.rank}").replace(scratch / _ERROR)
        raise
