"""Tasks on a Ray cluster: Ray Tune places them, a study of ours says what they are and what came of them.

Ray Tune never decides anything here and remembers nothing: our `Searcher` hands out what the study has to be run, so
that going on after any accident is a new Tune run over the same study.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.experiment import Resources
from nas.ray_cluster.connection import start_ray
from nas.ray_cluster.exchange import Exchange, Outbox
from nas.ray_cluster.on_node import Node, train
from nas.ray_cluster.searcher import Errors, StudySearcher
from nas.ray_cluster.settings import RaySettings
from nas.running.execution import Execution
from search_spaces.errors import InputError
from trials import load_data
from trials.dataset import Dataset
from trials.node_data import is_read_from_files

LOOK_EVERY_S = 1.0
"""How often the cluster is asked what it has."""

_ENDLESS = 1_000_000_000
"""Samples; our searcher says when it is over."""


class RayExecutor:
    """Runs tasks as trials of Ray Tune, as many as the cluster has room for.

    Args:
        settings: which cluster.
        resources: of one task; without `gpu`, a whole one where the cluster has any.
        workers: at most so many at a time; None for as many as there is room for.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: on entering, the cluster cannot be reached, or has not what a task needs.
    """

    def __init__(self, settings: RaySettings, resources: Resources, workers: int | None, device: str) -> None:
        self._settings, self._wanted, self._limit, self._device = settings, resources, workers, device
        self._owns_ray = False
        self._looked_at, self._has = -math.inf, dict[str, float]()

    def __enter__(self) -> Self:
        if not ray.is_initialized():
            self._owns_ray = True
            start_ray(self._settings, self._limit, self._wanted)
        try:
            self._resources = self._settle_resources(_has())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._owns_ray:
            ray.shutdown()

    @property
    def num_workers(self) -> int:
        """How many tasks the cluster has room for now; at least 1, since more of it may be on its way."""
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._looked_at, self._has = time.monotonic(), _has()
        return max(1, min(_room(self._has, self._resources), self._limit or _ENDLESS))

    def _most(self) -> int:
        """Return how many tasks may be handed out now.

        On a cluster that is a few more than there is room for: what waits makes an autoscaler add nodes. Who knows how
        many will be there says so with `workers`, and they are all asked for at once.
        """
        if self._limit is not None:
            return self._limit
        room = self.num_workers
        return room if self._settings.is_local else room + 1 + room // 8

    def run(self, execution: Execution) -> None:
        """Run until the execution has nothing more to run and nothing is running. Raises as `Executor.run`."""
        if not self._settings.is_local and self._device == "auto" and not self._resources["GPU"]:
            wait = "write `resources: {gpu: 1}` to wait for GPUs"
            execution.watcher.say(f"this cluster has no GPU now, so trials train on CPUs; {wait}")
        scratch = Path(tempfile.mkdtemp(prefix="nas-tune-"))
        exchange = Exchange.options(**_beside_the_driver()).remote()  # type: ignore[attr-defined]
        outbox = Outbox(exchange, execution.folder)
        searcher = StudySearcher(execution, outbox, "cuda" if self._resources.get("GPU") else "cpu", self._most)
        try:
            self._fit(execution, searcher, outbox, scratch)
            if searcher.failure is not None:
                raise searcher.failure
        except BaseException:
            execution.release()
            raise
        finally:
            ray.kill(exchange)
            shutil.rmtree(scratch, ignore_errors=True)

    def _fit(self, execution: Execution, searcher: StudySearcher, outbox: Outbox, scratch: Path) -> None:
        data = execution.config.data
        images = _put(load_data(data)) if is_read_from_files(data) else None
        threads = max(1, int(self._resources["CPU"]))
        with outbox.marked_folder() as token:
            node = Node(str(execution.folder.absolute()), token, outbox.exchange, threads, images)
            trainable = tune.with_parameters(train, node=node)
            tune.run(
                tune.with_resources(trainable, {name.lower(): n for name, n in self._resources.items() if n}),
                name="search",
                num_samples=_ENDLESS,
                search_alg=searcher,
                scheduler=Errors(searcher),
                stop=searcher.stopper,
                reuse_actors=True,
                storage_path=str(scratch),
                verbose=0,
                raise_on_failed_trial=False,
                callbacks=list(self._settings.callbacks),
                trial_name_creator=_name,
                trial_dirname_creator=_name,
                _remote=False,  # the searcher writes to the study, and stays with it: also behind ray://
            )

    def _settle_resources(self, cluster: Mapping[str, float]) -> dict[str, float]:
        wanted = self._wanted
        has_gpu = cluster.get("GPU", 0) > 0
        gpu = wanted.gpu if wanted.gpu is not None else float(has_gpu)
        if self._device == "cpu":
            gpu = 0.0
        if self._device == "cuda" and not gpu:
            raise InputError("--device cuda needs GPUs, and the cluster has none; say `resources: {gpu: 1}` to wait")
        settled = {"CPU": wanted.cpu, "GPU": gpu}
        if self._settings.is_local and not _room(cluster, settled):
            has = ", ".join(f"{name.lower()}: {cluster.get(name, 0):g}" for name in settled)
            needs = ", ".join(f"{name.lower()}: {n:g}" for name, n in settled.items())
            raise InputError(f"a trial needs `resources: {{{needs}}}`, and this machine has {{{has}}}")
        return settled


def _beside_the_driver() -> dict[str, Any]:
    """Return Ray's options of an actor that lives as long as the driver.

    That is on the driver's own node. Behind `ray://` there is none: it lies on any, and should that die, it starts
    again on another, without what it held, which costs time only.
    """
    options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    if not ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
        node = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
    return options


def _put(dataset: Dataset) -> tuple[str, Any]:
    return dataset.sha256, ray.put(dataset)


def _has() -> dict[str, float]:
    """Return what the cluster's nodes have together."""
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _room(cluster: Mapping[str, float], resources: Mapping[str, float]) -> int:
    """Return how many tasks fit, as if all nodes were one."""
    return int(min((cluster.get(name, 0.0) / each + 1e-6 for name, each in resources.items() if each), default=1))


def _name(trial: Any) -> str:
    return f"{trial.config['number']}-{trial.config['architecture']}-{trial.trial_id}"
