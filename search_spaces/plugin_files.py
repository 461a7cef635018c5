"""The files of plugins: where a name or path leads, importing it, and what came with it."""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import InputError

Sources = dict[str, str]
"""From a module's dotted name to the SHA-256 of its file."""


@dataclass(frozen=True)
class Place:
    """Where a plugin is imported from."""

    module: str
    """The name it is imported under."""
    path: Path | None
    """The file, if it was given by a path."""

    @property
    def folders(self) -> list[Path]:
        """Where it is looked for: the folder from which its name leads to its file, and the current one."""
        if self.path is None:
            return [Path.cwd()]
        depth = self.module.count(".") + (self.path.stem == "__init__")
        return [self.path.parents[depth], Path.cwd()]


def locate(given: str) -> Place:
    """Return where a path, or a name to import, leads.

    Raises:
        InputError: there is no such file, or its name cannot be imported.
    """
    path = Path(given)
    if path.suffix != ".py" and os.sep not in given:
        return Place(given, None)
    path = (path / "__init__.py" if path.is_dir() else path).resolve()
    if not path.is_file():
        raise InputError(f"{given}: no such file; a plugin is a .py file, a package, or a module's name")
    parts, folder = ([path.stem], path.parent) if path.stem != "__init__" else ([], path.parent)
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if not all(part.isidentifier() for part in parts):
        raise InputError(f"{given}: {'.'.join(parts)!r} is no name that Python can import; rename it")
    return Place(".".join(parts), path)


def hides_another(place: Place) -> bool:
    """Return whether a file has the name of a module of Python's, or of a package that is installed or loaded."""
    if place.path is None:
        return False
    name, folder = place.module.split(".")[0], place.folders[0]
    if name in sys.stdlib_module_names:
        return True
    if (other := sys.modules.get(name)) is not None:
        origins = [*getattr(other, "__path__", ()), getattr(other, "__file__", None)]
        return not any(origin and Path(origin).is_relative_to(folder) for origin in origins)
    spec = importlib.machinery.PathFinder.find_spec(name)
    return spec is not None and bool({"site-packages", "dist-packages"} & set(Path(spec.origin or "").parts))


def import_plugin(module: str, folders: Sequence[Path], given: str) -> Sources:
    """Import a module, searching these folders first, and return the files that came with it.

    Raises:
        InputError: it cannot be found, or raises; with the line of the user's that did.
    """
    known = set(sys.modules)
    try:
        with _searched(folders):
            importlib.import_module(module)
    except InputError:
        raise
    except Exception as error:  # whatever a user's file raises
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"no module {module!r} can be imported from {Path.cwd()}; a file is given by its path, as in my.py"
            ) from None
        raise InputError(f"the plugin {given} cannot be loaded: {_explain(error, folders)}") from error
    return _sources(module, known, folders)


@contextmanager
def _searched(folders: Iterable[Path]) -> Iterator[None]:
    """Let Python import from these folders inside, before all others."""
    before = list(sys.path)
    sys.path[:0] = dict.fromkeys(map(str, folders))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _explain(error: Exception, folders: Sequence[Path]) -> str:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return said
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_below(f.filename, folders)]
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said


def _sources(module: str, known: set[str], folders: Sequence[Path]) -> Sources:
    """Return the files of a module: it, its packages, and what else was imported with it from these folders."""
    top = module.split(".")[0]
    found = {}
    for name, loaded in sorted(sys.modules.items()):
        file = getattr(loaded, "__file__", None)
        first = name.split(".")[0]
        own = first == top or (first not in known and _is_below(file, folders))
        if own and file and file.endswith(".py") and Path(file).is_file():
            found[name] = digest(Path(file))
    return found


def _is_below(file: str | None, folders: Iterable[Path]) -> bool:
    paths = [Path(file).relative_to(folder) for folder in folders if file and Path(file).is_relative_to(folder)]
    return any("site-packages" not in path.parts for path in paths)


def find_digest(module: str, folders: Iterable[Path]) -> str | None:
    """Return the SHA-256 of the file that a module would be imported from, or None if there is none."""
    with _searched(folders):
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
    return digest(Path(spec.origin)) if spec and spec.origin and Path(spec.origin).is_file() else None


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
