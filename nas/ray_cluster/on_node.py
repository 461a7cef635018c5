"""What a worker on a node of the cluster does."""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from nas.ray_cluster.exchange import checkpoints_of
from nas.ray_cluster.settings import TOKEN
from nas.running.work import Task, run_task
from nas.whole_files import write_whole
from trials import DataConfig
from trials.node_data import use_on_this_node

RECORD, EPOCH = "record", "epoch_result"
"""Keys of what a worker reports, as JSON: the record, once; and each epoch."""

HAS_SENT = "has_sent"
"""Key that says in each of them whether the worker has sent files before."""


@dataclass(frozen=True)
class Node:
    """What every node is told."""

    folder: str
    """The study's, on the driver's machine."""
    token: str
    """What a node finds in that folder if it sees the same."""
    exchange: Any
    """The way for files if it does not."""
    threads: int
    """Of torch, for one task."""
    images: tuple[str, Any] | None
    """The SHA-256 and a reference of the images that the driver has read, and no node need have; None where they are
    made from nothing."""


def train(config: dict[str, Any], node: Node) -> None:
    """Run one task, reporting to Tune; the trainable of Tune's function API.

    Args:
        config: of the Tune trial, with the task in it.
        node: what to know of the study.
    """
    torch.set_num_threads(node.threads)
    task: Task = config["parcel"].task
    if node.images is not None:
        sha256, reference = node.images
        use_on_this_node(DataConfig.model_validate(task.config["data"]), sha256, lambda: ray.get(reference))
    if _sees_folder(node):
        record, has_sent = run_task(task, lambda epoch: tune.report(_as_metrics(epoch))), False
    else:
        record, has_sent = _run_elsewhere(task, node)
    tune.report({RECORD: json.dumps(record), HAS_SENT: has_sent, **_figures(record)})


def _sees_folder(node: Node) -> bool:
    try:
        return Path(node.folder, TOKEN).read_text() == node.token
    except OSError:
        return False


def _run_elsewhere(task: Task, node: Node) -> tuple[dict[str, Any], bool]:
    """Run a task in a folder of its own, with its files brought there and back; return whether any came last."""
    with tempfile.TemporaryDirectory(prefix="nas-task-") as scratch:
        folder = Path(scratch)
        for name in checkpoints_of(task):
            data = ray.get(node.exchange.get.remote(name))
            if data is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_whole(folder / name, data)
        sender = _Sender(folder, node.exchange, task)

        def report(epoch: dict[str, Any]) -> None:
            tune.report({**_as_metrics(epoch), HAS_SENT: sender.send_changed(checkpoints_of(task))})

        record = run_task(replace(task, folder=scratch), report)
        return record, sender.send_changed([*checkpoints_of(task), task.weights])


class _Sender:
    """Sends files as they change."""

    def __init__(self, folder: Path, exchange: Any, task: Task) -> None:
        self._folder, self._exchange = folder, exchange
        self._sent = {name: _version(folder / name) for name in checkpoints_of(task)}

    def send_changed(self, names: list[str]) -> bool:
        """Send what is there and was not sent as it is; return whether anything was."""
        versions = {name: _version(self._folder / name) for name in names if name}
        changed = [name for name, now in versions.items() if now and now != self._sent.get(name)]
        for name in changed:
            self._sent[name] = versions[name]
            ray.get(self._exchange.send.remote(name, (self._folder / name).read_bytes()))
        return bool(changed)


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino


def _as_metrics(epoch: dict[str, Any]) -> dict[str, Any]:
    """Return an epoch as Tune's loggers like it, and whole."""
    return {EPOCH: json.dumps(epoch), **{name: value for name, value in epoch.items() if value is not None}}


def _figures(record: dict[str, Any]) -> dict[str, Any]:
    names = ("accuracy", "loss", "miou", "params", "macs", "memory_bytes", "wall_s", "test_accuracy")
    return {name: record[name] for name in names if record.get(name) is not None}
