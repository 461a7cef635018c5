"""Processes of this machine as Linux's `/proc` tells them: whose children they are, and which were left behind."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    started: int
    """In clock ticks since boot; with the number it tells a process from a later one of the same number."""


def descendants(pid: int) -> set[Process]:
    """Return the processes that `pid` has started, that these have, and so on, as long as their parents live."""
    children: dict[int, list[Process]] = {}
    for process, parent in _all():
        children.setdefault(parent, []).append(process)
    found: set[Process] = set()
    left = [pid]
    while left:
        below = children.get(left.pop(), [])
        found |= set(below)
        left += [process.pid for process in below]
    return found


def children_like(pid: int, words: bytes) -> list[int]:
    """Return the descendants of `pid` whose command line contains `words`, in order."""
    return sorted(process.pid for process in descendants(pid) if words in command_line(process.pid))


def alive(processes: set[Process]) -> set[Process]:
    """Return those that still run, but for Python's resource trackers, which end by themselves after their process."""
    running = processes & {process for process, _ in _all()}
    return {process for process in running if b"multiprocessing.resource_tracker" not in command_line(process.pid)}


def tagged(tag: str) -> set[Process]:
    """Return the processes that were started with `tag` in their environment."""
    return alive({process for process, _ in _all() if tag.encode() in _read(process.pid, "environ")})


def command_line(pid: int) -> bytes:
    """Return a process's command line, empty if it is gone."""
    return _read(pid, "cmdline")


def _all() -> Iterator[tuple[Process, int]]:
    """Yield every process that has not ended, with its parent's number."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (text := _read(int(name), "stat")):
            state, parent, *rest = text.rpartition(b") ")[2].split()
            if state not in (b"Z", b"X"):
                yield Process(int(name), int(rest[17])), int(parent)


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""
