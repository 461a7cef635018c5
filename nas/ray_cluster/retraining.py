"""A full training on a Ray cluster: Ray Train starts its processes and joins them; everything else is `trials.retrain`.

When a worker or its node dies, Ray Train starts all processes again, and they go on from the newest checkpoint in the
training's folder, which every node must see. Ray keeps nothing. An error that another try would only repeat is left in
a file beside that folder, at which the processes of the next try end at once.
"""

import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import Any, Self

import ray
import torch
from ray import train
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from nas.experiment import Resources
from nas.ray_cluster.connection import start_ray
from nas.ray_cluster.settings import RaySettings
from search_spaces.errors import InputError
from trials.failure import DivergedError
from trials.retrain import Job, Place, RetrainRecord, StoppedTrainingError, read_history, read_record, run_process
from trials.retrain.stopping import SIGNALS

MOST_RESTARTS = 20
"""How often processes may die before the training is given up; each time it goes on from the newest checkpoint."""

LOOK_EVERY_S = 1.0
"""How often the training's folder is looked at for new epochs."""

_ERROR = "error.json"
_ERRORS: dict[str, Callable[[str], Exception]] = {"InputError": InputError, "DivergedError": DivergedError}
"""What another try would only repeat."""


class ClusterTraining:
    """Trains networks in full, one after the other, in `processes` workers each, with a GPU each if there are any.

    A context manager: the first training joins the cluster or starts Ray, and the end of the block leaves it. A process
    should do that once: a thread that Ray 2.60 leaves behind may end it a minute after its first cluster is gone.

    Args:
        settings: the cluster; without an address, Ray is started on this machine.
        processes: that train together.
        say: is told of each epoch.
        cpus_per_process: for computing and for reading data.
    """

    def __init__(
        self, settings: RaySettings, processes: int, say: Callable[[str], None], cpus_per_process: float = 1
    ) -> None:
        self._settings, self._processes, self._say, self._cpus = settings, processes, say, cpus_per_process
        self._owns_ray = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owns_ray:
            ray.shutdown()

    def __call__(self, job: Job) -> RetrainRecord:
        """Train a network.

        Args:
            job: its folder must lie where all nodes see it, and its `device` is `auto`, `cpu` or `cuda`.

        Raises:
            InputError: the cluster cannot be reached or has not so many GPUs, a node does not see the folder, or data,
                architecture and recipe do not fit.
            DivergedError: the loss is not finite.
            StoppedTrainingError: SIGINT or SIGTERM came; in another block the same call goes on from the newest
                checkpoint (in this one it would wait for what the cluster keeps reserved until the block ends).
            RuntimeError: processes died again and again.
        """
        if not ray.is_initialized():
            start_ray(self._settings, self._processes, Resources(cpu=self._cpus))
            self._owns_ray = True
        use_gpu = _uses_gpu(job.device, self._processes)
        placed = replace(job, device="cuda" if use_gpu else "cpu", out=job.out.expanduser().absolute())
        with _beside(placed.out) as scratch, _following(placed, self._say):
            _fit(placed, scratch, self._processes, self._cpus, use_gpu)
        return read_record(placed.out)


def _uses_gpu(device: str, processes: int) -> bool:
    if device == "cpu":
        return False
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if gpus < processes and (gpus or device != "auto"):
        way_out = f"give --gpus {gpus}" if gpus else "give --device cpu"
        raise InputError(f"{processes} processes need as many GPUs, and the cluster has {gpus}; {way_out}")
    return gpus > 0


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Yield a folder beside the training's, for Ray and for what processes tell; it is removed at the end."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.ray-", dir=out.parent))
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


class _Trainer(TorchTrainer):
    """Takes Ctrl-C and SIGTERM as every training does; Ray Train's own handler ends the process, without a word."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(_train, **arguments)
        self.stopped_by = 0
        """The signal that has come; 0: none."""

    def _register_sigint_handler(self, controller: Any) -> None:
        def stop(number: int, _: FrameType | None) -> None:
            self.stopped_by = self.stopped_by or number
            ray.kill(controller)  # and with it the workers, which it owns: `fit` ends with a RayActorError

        for number in SIGNALS:
            signal.signal(number, stop)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put the handlers of signals back that a block replaces, where it may: in the main thread."""
    is_main = current_thread() is main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fit(job: Job, scratch: Path, processes: int, cpus: float, use_gpu: bool) -> None:
    """Train; raise what the processes have left."""
    threads = 0 if use_gpu else max(1, int(cpus))
    trainer = _Trainer(
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
    try:
        with _own_signals():
            result = trainer.fit()
    except RayActorError:
        if not trainer.stopped_by:
            raise
        raise StoppedTrainingError(
            trainer.stopped_by, f"stopped; the same command goes on from the newest checkpoint ({job.out})"
        ) from None
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
