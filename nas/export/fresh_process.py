"""Running what was exported in a process that knows nothing of this one."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.export.errors import ExportError


def run_part(part: str, folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return what a part of an export computes from images (see `probe`).

    Raises:
        ExportError: it cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch) / "inputs", Path(scratch) / "outputs"
        save_file({"images": images.contiguous()}, inputs)
        script = files("nas").joinpath("export", "probe.py")
        places = _places() if part == "model" else []
        _run(["-I", str(script), part, str(folder.resolve()), str(inputs), str(outputs), *places], part)
        return load_file(outputs)


def run_module(module: str, *arguments: str) -> Any:
    """Return the JSON that a module of this package prints last when it is run in a fresh process.

    Raises:
        ExportError: it failed.
    """
    printed = _run(["-m", module, *arguments], module, path=_places())
    return json.loads(printed.strip().splitlines()[-1])


def _run(arguments: Sequence[str], what: str, path: Sequence[str] = ()) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)} if path else dict(os.environ)
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ExportError(f"{what} failed in a fresh process: {lines[-1] if lines else f'status {done.returncode}'}")
    return done.stdout


def _places() -> list[str]:
    """Return where this process imports from: the package may lie in a folder that was only added here."""
    found = importlib.util.find_spec("search_spaces")
    assert found is not None
    assert found.origin is not None
    return [str(Path(found.origin).parents[1]), *(each for each in sys.path if each), os.getcwd()]
