"""What hosts cost and how many sites they have: measured on demand, kept between runs in the user's cache folder.

A host is traced for it (0.1 to 3 s). What is kept counts for the very sources of `search_spaces` and the very versions
of what it builds hosts with; anything else there, a broken file included, is measured anew.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import search_spaces
from nas.running.local_pool import Crashed, Done, Event, LocalPool, PoolError
from nas.whole_files import write_whole
from search_spaces import HostConfig, InputError, find_sites
from search_spaces.cost import host_cost

_BUILT_WITH = ("torch", "torchvision", "timm")
_FOLDER = "attention-placement-search"

_FEW = 16
"""So many hosts are measured in the time in which a worker process imports torch."""
_MOST_WORKERS = 8


@dataclass(frozen=True)
class HostFigures:
    """A host as its name alone gives it."""

    params: int
    macs: int
    """Multiply-accumulates of convolutions and matrix products, one image."""
    sites: dict[str, int]
    """How many sites there are of each kind of place, in network order; only places that the host has."""


@dataclass(frozen=True)
class NoFigures:
    """A host that cannot be measured."""

    reason: str
    lasting: bool = True
    """The same sources and versions always give this reason."""


Measured = HostFigures | NoFigures


def measure_host(name: str) -> Measured:
    """Measure a host with its defaults; the answer for one that cannot be traced is its reason."""
    try:
        config = HostConfig(name=name)
        sites = Counter(site.place_kind for site in find_sites(config))
        cost = host_cost(config)
    except InputError as error:
        return NoFigures(str(error))
    except Exception as error:  # the code of some host out of a thousand: it must not end the list
        return NoFigures(f"{type(error).__name__}: {error}", lasting=False)
    return HostFigures(cost.params, cost.macs, dict(sites))


def measure_hosts(names: Sequence[str], cores: int | None = None) -> Iterator[tuple[str, Measured]]:
    """Yield each host with its figures as they are measured, in any order; many are shared out over the cores."""
    num_workers = min(cores or len(os.sched_getaffinity(0)), _MOST_WORKERS, len(names) // _FEW)
    if num_workers < 2:
        yield from ((name, measure_host(name)) for name in names)
        return
    waiting = list(enumerate(names))[::-1]
    with LocalPool[str, Measured](num_workers, _measure_task) as pool:
        while waiting or pool.busy:
            while waiting and pool.num_idle:
                pool.submit(*waiting.pop())
            try:
                events = pool.wait()
            except PoolError as error:
                raise InputError(f"the hosts cannot be measured: {error}") from error
            for event in events:
                yield names[event.key], _answer(event)


def _measure_task(name: str, _report: Any) -> Measured:
    return measure_host(name)


def _answer(event: Event) -> Measured:
    if isinstance(event, Crashed):
        return NoFigures(event.reason, lasting=False)
    assert isinstance(event, Done)
    assert isinstance(event.result, HostFigures | NoFigures)
    return event.result


class FiguresCache:
    """The figures of earlier runs: a small file per host, so that several runs at once lose nothing.

    Args:
        folder: where the files are; the user's cache folder if not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "hosts" / _built_with()

    def get(self, name: str) -> Measured | None:
        """Return what is kept of a host; None if that is nothing, out of date or cannot be read."""
        try:
            kept = json.loads(self._path(name).read_text())
            if kept["sources"] != _sources():
                return None
            return _read(kept["measured"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, name: str, measured: Measured) -> None:
        """Keep the figures of a host; where nothing can be written, nothing is kept."""
        if isinstance(measured, NoFigures) and not measured.lasting:
            return
        text = json.dumps({"host": name, "sources": _sources(), "measured": asdict(measured)})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(name), text)
        except OSError:
            return

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '--')}.json"


def _read(data: dict[str, Any]) -> Measured:
    """Return figures from their JSON. Raises KeyError, TypeError or ValueError for anything else."""
    if "reason" in data:
        return NoFigures(str(data["reason"]))
    return HostFigures(
        int(data["params"]), int(data["macs"]), {str(place): int(n) for place, n in dict(data["sites"]).items()}
    )


def cache_folder() -> Path:
    """Return the folder of this package's caches: in `$XDG_CACHE_HOME`, or in `~/.cache`."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path(os.path.expanduser("~/.cache"))) / _FOLDER


def _built_with() -> str:
    """Return the versions that decide what a host is, as the name of a folder."""
    return "-".join(f"{package}{_version(package)}" for package in _BUILT_WITH)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"


@cache
def _sources() -> str:
    """Return the SHA-256 of this package's own part in what a host is and where its sites are."""
    root = Path(search_spaces.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
