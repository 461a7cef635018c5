"""The source of a Python module, and what stands at its top level."""

import ast
import importlib
import inspect
from dataclasses import dataclass
from functools import lru_cache

from nas.export.code.errors import CannotWriteError

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Imported:
    """A name that a module imports."""

    module: str
    name: str | None
    """None: the module itself."""


@dataclass(frozen=True, eq=False)
class ParsedModule:
    """A module's source and its top level."""

    name: str
    source: bytes
    line_starts: tuple[int, ...]
    definitions: dict[str, Definition]
    imports: dict[str, Imported]

    def offset(self, line: int, column: int) -> int:
        """Return where in the source a place is; lines from 1, columns in bytes."""
        return self.line_starts[line - 1] + column


@lru_cache(maxsize=256)
def parsed(name: str) -> ParsedModule:
    """Return a module that can be imported, parsed.

    Raises:
        CannotWriteError: its source is not there.
    """
    try:
        text = inspect.getsource(importlib.import_module(name))
    except (OSError, TypeError, ImportError) as error:
        raise CannotWriteError(f"the source of {name} cannot be read ({error})") from None
    definitions: dict[str, Definition] = {}
    imports: dict[str, Imported] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            definitions[node.target.id] = node
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            definitions[node.targets[0].id] = node
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(name, node)
            imports |= {alias.asname or alias.name: Imported(module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name.split(".")[0]: Imported(alias.name, None) for alias in node.names}
    source = text.encode()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return ParsedModule(name, source, tuple(starts), definitions, imports)


def _absolute(name: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = hasattr(importlib.import_module(name), "__path__")
    parts = name.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])
