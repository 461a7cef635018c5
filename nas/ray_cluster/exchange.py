"""Files of a study for nodes that do not see its folder: checkpoints out, checkpoints and weights back.

A node that sees the folder, as on a shared file system, writes there itself and needs none of this.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError

from nas.ray_cluster.settings import TOKEN
from nas.running.work import Task
from nas.whole_files import write_whole
from trials.checkpoint import running_path


@ray.remote
class Exchange:
    """Keeps the latest content of each file, by its path in the study's folder, until it is dropped."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._new: set[str] = set()

    def send(self, name: str, data: bytes) -> None:
        """Take a file from a node."""
        self._files[name] = data
        self._new.add(name)

    def offer(self, name: str, data: bytes) -> None:
        """Take a file from the driver."""
        self._files.setdefault(name, data)

    def get(self, name: str) -> bytes | None:
        """Return a file, or None."""
        return self._files.get(name)

    def news(self) -> dict[str, bytes]:
        """Return what nodes have sent since it was last asked for."""
        names, self._new = self._new, set()
        return {name: self._files[name] for name in names if name in self._files}

    def drop(self, names: list[str]) -> None:
        """Forget files."""
        for name in names:
            self._files.pop(name, None)


class Outbox:
    """The driver's end."""

    def __init__(self, exchange: Any, folder: Path) -> None:
        self.exchange = exchange
        self._folder = folder

    @contextmanager
    def marked_folder(self) -> Iterator[str]:
        """Keep a token in the folder, by which a node knows that it sees the same; yield it."""
        token = secrets.token_hex(16)
        path = self._folder / TOKEN
        write_whole(path, token.encode())
        try:
            yield token
        finally:
            if _text(path) == token:  # not that of a driver that has taken over
                path.unlink(missing_ok=True)

    def send_checkpoints(self, task: Task) -> None:
        """Offer what a task goes on from, if it is there."""
        for name in checkpoints_of(task):
            if (path := self._folder / name).is_file():
                self.exchange.offer.remote(name, path.read_bytes())

    def collect(self) -> None:
        """Write what nodes have sent into the folder."""
        try:
            news: dict[str, bytes] = ray.get(self.exchange.news.remote())
        except RayActorError:  # its node has died, and what it held with it
            return
        for name, data in news.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)

    def forget(self, task: Task) -> None:
        """Drop a task's files, which the folder has."""
        self.exchange.drop.remote([*checkpoints_of(task), task.weights])


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def checkpoints_of(task: Task) -> list[str]:
    """Return the paths of a task's checkpoints; both may be missing."""
    return [task.checkpoint, str(running_path(Path(task.checkpoint)))] if task.checkpoint else []
