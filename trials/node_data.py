"""Images that one process has read, for all processes of another machine: written there once, then mapped."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from search_spaces import InputError
from trials.data import DataConfig, provide, provided
from trials.dataset import Dataset

CACHE = "NAS_CACHE_DIR"
"""The environment variable that says where a node keeps images; else in the folder for temporary files."""

_ARRAYS = ("images", "labels", "test_images", "test_labels", "scales", "test_scales")
_ABOUT = "about.json"


def is_read_from_files(config: DataConfig) -> bool:
    """Return whether the images are of a folder, and not made from nothing wherever they are needed."""
    return config.source in ("cifar10", "cifar100", "folder")


def use_on_this_node(config: DataConfig, sha256: str, fetch: Callable[[], Dataset]) -> None:
    """Have this process take images that were read elsewhere for those of `config`.

    The first process of a machine fetches and writes the arrays, the others map the same files into memory.

    Args:
        config: what the images are taken for.
        sha256: of the data set.
        fetch: brings the data set here; called by one process of a machine at a time, and only until one had success.

    Raises:
        InputError: there is no room for them, or what is kept here was changed.
    """
    if (known := provided(config)) is not None and known.sha256 == sha256:
        return
    folder = Path(os.environ.get(CACHE) or Path(tempfile.gettempdir()) / f"nas-images-{os.getuid()}") / sha256
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder.with_suffix(".lock")):
        if not (folder / _ABOUT).is_file():
            _write(fetch(), folder)
    dataset = _read(folder)
    if dataset.sha256 != sha256:
        raise InputError(f"{folder} does not hold the images that were written there; delete it")
    provide(config, dataset)


def _write(dataset: Dataset, folder: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name[:8]}-", dir=folder.parent))
    try:
        for name in _ARRAYS:
            if (array := getattr(dataset, name)) is not None:
                np.save(unfinished / f"{name}.npy", array, allow_pickle=False)
        (unfinished / _ABOUT).write_text(json.dumps({"classes": dataset.classes}))
        os.replace(unfinished, folder)
    except OSError as error:
        raise InputError(f"the images cannot be kept in {folder.parent}: {error}; give another with {CACHE}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _read(folder: Path) -> Dataset:
    arrays = {
        # Copy on write: torch asks for memory that could be written to, though nobody does.
        name: np.load(path, mmap_mode="c", allow_pickle=False)
        for name in _ARRAYS
        if (path := folder / f"{name}.npy").is_file()
    }
    about = json.loads((folder / _ABOUT).read_text())
    return Dataset(**arrays, classes=tuple(about["classes"]))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
