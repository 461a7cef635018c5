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


def run_parts(parts: Sequence[str], folder: Path, images: Tensor) -> dict[str, dict[str, Tensor]]:
    """Return what parts of an export compute from images, all in one process (see `probe`).

    Raises:
        ExportError: one cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch) / "inputs", Path(scratch) / "outputs"
        save_file({"images": images.contiguous()}, inputs)
        script = files("nas").joinpath("export", "probe.py")
        places = _places() if "model" in parts else _place_of("mmengine") if "mmdet" in parts else []
        named = ",".join(parts)
        _run(["-I", "-B", str(script), named, str(folder.resolve()), str(inputs), str(outputs), *places], named)
        found: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
        for name, value in load_file(outputs).items():
            part, _, what = name.partition("/")
            found[part][what] = value
        return found


def run_part(part: str, folder: Path, images: Tensor) -> dict[str, Tensor]:
    """Return what one part computes. Raises as `run_parts`."""
    return run_parts([part], folder, images)[part]


def run_module(module: str, *arguments: str) -> Any:
    """Return the JSON that a module of this package prints last when it is run in a fresh process.

    Raises:
        ExportError: it failed.
    """
    printed = _run(["-B", "-m", module, *arguments], module, path=_places())
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
    return [*_place_of("search_spaces"), *(each for each in sys.path if each), os.getcwd()]


def _place_of(package: str) -> list[str]:
    """Return the folder that a package is imported from."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return [str(Path(found.origin).parents[1])]
