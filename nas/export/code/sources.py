"""Copies of classes and functions, with all that they need from their own package, for a file that has torch alone.

What is copied is the source as it stands, comments and docstrings included, without what belongs to the registry of
attention modules: its decorator, the descriptions of knobs in annotations, the methods that only the search asks.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from nas.export.code.annotations import simplified
from nas.export.code.errors import CannotWriteError
from nas.export.code.file_names import FileNames
from nas.export.code.parsed_modules import Definition, Imported, ParsedModule, parsed

_OPS, _PLAIN = "search_spaces.attention.ops.", "search_spaces.attention.ops.plain"
_OF_THE_SEARCH = ("effective", "bridge_from", "knob_names")
_DECORATORS = ("register", "register_notrace_module", "register_notrace_function")
_ERRORS = {"InputError": "ValueError"}
_LOGGING = "_log_api_usage_once"
_MOST = 60
"""Definitions of one class with all that it needs; what takes more is no longer a file to read."""

_FREE = {"torch", *sys.stdlib_module_names}

Edit = tuple[int, int, bytes]


class Sources:
    """The definitions that a file has copies of."""

    def __init__(self, names: FileNames) -> None:
        self._names = names
        self.texts: dict[tuple[str, str], str] = {}
        """In an order in which each stands before those that need it."""

    def copy(self, thing: type[nn.Module] | Callable[..., Any]) -> str:
        """Copy a class or function with what it needs; return its name in the file.

        Raises:
            CannotWriteError: it needs another package than torch, or its source is not there.
        """
        before = dict(self.texts)
        try:
            name = self._define(thing.__module__, thing.__name__, [])
        except CannotWriteError as error:
            self.texts = before
            raise CannotWriteError(f"{thing.__qualname__} of {thing.__module__}: {error}") from None
        if len(self.texts) - len(before) > _MOST:
            self.texts = before
            raise CannotWriteError(f"{thing.__qualname__} of {thing.__module__} needs more than {_MOST} definitions")
        return name

    def _define(self, module: str, name: str, within: list[tuple[str, str]]) -> str:
        """Copy a definition of a module, those that it needs first; return its name in the file."""
        if module.startswith(_OPS):
            module = _PLAIN
        source = parsed(module)
        if name in source.imports and name not in source.definitions:
            return self._take(source.imports[name], name, [*within, (module, name)])
        if name not in source.definitions:
            raise CannotWriteError(f"{module} does not define {name} at its top level")
        key = (module, name)
        local = self._names.of(key, name)
        if key not in self.texts and key not in within:
            if len(within) > _MOST:
                raise CannotWriteError("it needs too much")
            text = self._copied(source, source.definitions[name], [*within, key], local)
            self.texts[key] = text
        return local

    def _take(self, imported: Imported, name: str, within: list[tuple[str, str]]) -> str:
        """Return what stands in the file for a name that a module imports."""
        if imported.name in _ERRORS and imported.module.startswith("search_spaces"):
            return _ERRORS[imported.name]
        root = imported.module.split(".")[0]
        if root in _FREE:
            return self._import(imported, name)
        family = within[0][0].split(".")[0]
        if imported.name is None or (root != family and not _beside(within[0][0], root)):
            raise CannotWriteError(f"it needs the package {root}")
        return self._define(imported.module, imported.name, within)

    def _import(self, imported: Imported, name: str) -> str:
        if (imported.module, imported.name) in (("torch.nn", "functional"), ("torch.nn.functional", None)):
            return "F"
        known = {
            ("torch", "nn"): "nn",
            ("torch.nn", None): "nn",
            ("torch", "Tensor"): "Tensor",
            ("torch", None): "torch",
        }
        if (imported.module, imported.name) in known and (name != "torch" or imported.module == "torch"):
            return known[imported.module, imported.name]
        if imported.name is None:
            alias = "" if name == imported.module else f" as {name}"
            line = f"import {imported.module}{'' if name == imported.module.split('.')[0] else alias}"
        else:
            line = f"from {imported.module} import {imported.name}{'' if name == imported.name else f' as {name}'}"
        self._names.imports.add(line)
        self._names.reserve(name)
        return name

    def _copied(self, source: ParsedModule, node: Definition, within: list[tuple[str, str]], local: str) -> str:
        edits: list[Edit] = []
        left_out = list(_left_out(node))
        skipped = {id(each) for out in left_out for each in ast.walk(out)}
        for out in left_out:
            edits.append((*_lines_of(source, out), b""))

        def resolve(name: str) -> str | None:
            if name not in source.definitions and name not in source.imports:
                return None
            return self._define(source.name, name, within)

        for annotation in _annotations(node, skipped):
            text = simplified(annotation, source, resolve)
            edits.append((*_span(source, annotation), text.encode()))
            skipped |= {id(each) for each in ast.walk(annotation)}
        edits += self._renamed(source, node, skipped, resolve, local)
        start = node.lineno if not getattr(node, "decorator_list", None) else _first_decorator(node).lineno
        begin, end = source.offset(start, 0), source.offset(node.end_lineno or 0, node.end_col_offset or 0)
        return _tidy(_apply(source.source, begin, end, edits).decode())

    def _renamed(
        self,
        source: ParsedModule,
        node: Definition,
        skipped: set[int],
        resolve: Callable[[str], str | None],
        local: str,
    ) -> Iterator[Edit]:
        """Yield the edits that give every name of the module its name in the file."""
        bound = {argument.arg for each in ast.walk(node) if isinstance(each, ast.arguments) for argument in _args(each)}
        for each in ast.walk(node):
            if id(each) in skipped or not isinstance(each, ast.Name) or each.id in bound:
                continue
            if isinstance(each.ctx, ast.Load) or isinstance(node, ast.Assign | ast.AnnAssign):
                name = resolve(each.id)
                if name is not None and name != each.id:
                    yield (*_span(source, each), name.encode())
        own = getattr(node, "name", local)
        if own != local:
            keyword = "class" if isinstance(node, ast.ClassDef) else "def"
            begin = source.offset(node.lineno, node.col_offset) + len(keyword) + 1
            yield begin, begin + len(own.encode()), local.encode()


def _beside(module: str, root: str) -> bool:
    """Return whether a module is a file of its own that imports another which lies beside it."""
    here, there = (getattr(sys.modules.get(name.split(".")[0]), "__file__", None) for name in (module, root))
    return bool(here and there) and here.rpartition("/")[0] == there.rpartition("/")[0]  # type: ignore[union-attr]  # not None


def _args(arguments: ast.arguments) -> list[ast.arg]:
    more = [each for each in (arguments.vararg, arguments.kwarg) if each]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *more]


def _left_out(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a definition that are not copied."""
    for decorator in getattr(node, "decorator_list", []):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if getattr(called, "id", getattr(called, "attr", "")) in _DECORATORS:
            yield decorator
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef) and each.name in _OF_THE_SEARCH and each is not node:
            yield each
        if _only_logs(each):
            yield each


def _only_logs(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return not node.orelse and all(map(_only_logs, node.body))
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    return getattr(node.value.func, "id", "") == _LOGGING


def _annotations(node: ast.AST, skipped: set[int]) -> Iterator[ast.expr]:
    for each in ast.walk(node):
        if id(each) in skipped:
            continue
        if isinstance(each, ast.arg | ast.AnnAssign) and each.annotation is not None:
            yield each.annotation
        elif isinstance(each, ast.FunctionDef) and each.returns is not None:
            yield each.returns


def _first_decorator(node: Any) -> ast.expr:
    first: ast.expr = node.decorator_list[0]
    return first


def _span(source: ParsedModule, node: ast.expr) -> tuple[int, int]:
    begin = source.offset(node.lineno, node.col_offset)
    return begin, source.offset(node.end_lineno or 0, node.end_col_offset or 0)


def _lines_of(source: ParsedModule, node: Any) -> tuple[int, int]:
    """Return the whole lines of a statement or decorator, blank lines before it included."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    begin, end = source.offset(first, 0), source.offset(node.end_lineno + 1, 0)
    if isinstance(node, ast.FunctionDef):
        while source.source[:begin].endswith(b"\n\n"):
            begin -= 1
    return begin, end


def _apply(source: bytes, begin: int, end: int, edits: list[Edit]) -> bytes:
    written, at = b"", begin
    for start, stop, text in sorted(edits):
        if start < at:
            continue  # inside of what was left out
        written += source[at:start] + text
        at = stop
    return written + source[at:end]


def _tidy(text: str) -> str:
    """Take out what comments tell the tools of the place that it comes from."""
    for name, builtin in _ERRORS.items():
        text = text.replace(f"{name}:", f"{builtin}:")
    lines = [re.sub(r"\s+# (noqa|type: ignore)\b.*$", "", line) for line in text.strip("\n").splitlines()]
    return "\n".join(line.rstrip() for line in lines).rstrip()
