"""Reading YAML so that every mistake is answered with its file, line and key.

YAML numbers follow version 1.2 (https://yaml.org/spec/1.2.2, section 10.3.2): `1e-3` and `60e6` are floats,
`no` and `on` are strings. Duplicate keys are errors.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from search_spaces.config import Config
from search_spaces.errors import InputError, nearest

Key = str | int
Keys = tuple[Key, ...]
ConfigT = TypeVar("ConfigT", bound=Config)

_MAX_MISTAKES = 5


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalar types of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first))


_resolve("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_resolve("int", "[-+]?[0-9]+", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_resolve("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.")
_resolve("null", "~|null|Null|NULL|", "~nN\0")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])
# PyYAML would read 010 as octal, as YAML 1.1 had it.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


@dataclass(frozen=True)
class Document:
    """What a YAML file says, and on which line it says it."""

    data: Any
    name: str = "<input>"
    folder: Path = field(default_factory=Path)
    """Relative paths inside the document start here."""
    lines: dict[Keys, int] = field(default_factory=dict)
    """From the path of keys to the line (from 1) where that key stands."""

    def error(self, keys: Sequence[Key], what: str) -> InputError:
        """Return the error `what` at the place `keys`, named by file, line and key."""
        keys = tuple(keys)
        line = next((self.lines[keys[:n]] for n in range(len(keys), -1, -1) if keys[:n] in self.lines), None)
        place = self.name if line is None else f"{self.name}, line {line}"
        return InputError(f"{place}: {describe_keys(keys)}{what}" if keys else f"{place}: {what}")

    def child(self, *keys: Key) -> "Document":
        """Return the part of the document under `keys`, which keeps its own line numbers."""
        data = self.data
        for key in keys:
            data = data[key]
        depth = len(keys)
        lines = {path[depth:]: line for path, line in self.lines.items() if path[:depth] == keys}
        return Document(data, self.name, self.folder, lines)


def describe_keys(keys: Iterable[Key]) -> str:
    """Return `choices[0].modules: ` for ("choices", 0, "modules")."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else (f".{key}" if text else str(key))
    return f"{text}: " if text else ""


def read_yaml(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        InputError: the file does not exist, is not UTF-8 or not YAML, or has a duplicate key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return parse_yaml(text, name=str(path), folder=path.parent)


def parse_yaml(text: str, name: str = "<input>", folder: Path | None = None) -> Document:
    """Parse YAML text; `name` stands in the messages. Raises InputError as `read_yaml` does."""
    loader = _Loader(text)
    lines: dict[Keys, int] = {}
    try:
        node = loader.get_single_node()
        data = None if node is None else _construct(loader, node, (), lines, name)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()
    return Document(data, name, folder or Path(), lines)


def _construct(loader: _Loader, node: yaml.Node, keys: Keys, lines: dict[Keys, int], name: str) -> Any:
    if len(keys) > 50:
        raise InputError(f"{name}: nested too deeply (does an alias refer to itself?)")
    lines.setdefault(keys, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, child, (*keys, i), lines, name) for i, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)  # type: ignore[no-untyped-call]
    _refuse_duplicates(node, keys, name)
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
        if not isinstance(key, str | int):
            raise InputError(
                f"{name}, line {key_node.start_mark.line + 1}: a key must be a word, got {key!r}"
            )
        lines[(*keys, key)] = key_node.start_mark.line + 1
        result[key] = _construct(loader, value_node, (*keys, key), lines, name)
    return result


def _refuse_duplicates(node: yaml.MappingNode, keys: Keys, name: str) -> None:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen and key != "<<":
            raise InputError(
                f"{name}, line {line}: {describe_keys(keys)}duplicate key {key!r}, first given on line {seen[key]}"
            )
        seen[key] = line


def validate(model: type[ConfigT], document: Document, at: Sequence[Key] = ()) -> ConfigT:
    """Return the document as `model`.

    Raises:
        InputError: one line per mistake, each with file, line, key, what was allowed and the nearest name.
    """
    data = document.data
    if not isinstance(data, dict):
        raise document.error(at, f"expected keys ({', '.join(model.model_fields)}), got {_show(data)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        mistakes = [_explain(model, document, (*at, *_keys_of(item["loc"])), item) for item in error.errors()]
        unique = list(dict.fromkeys(str(mistake) for mistake in mistakes))
        more = [f"... and {len(unique) - _MAX_MISTAKES} more mistakes"] if len(unique) > _MAX_MISTAKES else []
        raise InputError("\n".join(unique[:_MAX_MISTAKES] + more)) from None


def _keys_of(location: Sequence[Key]) -> Keys:
    """Drop the names that pydantic adds for the branches of a union."""
    return tuple(
        key
        for key in location
        if isinstance(key, int) or not re.search(r"[\[\(]|^(str|int|float|bool)$", key)
    )


def _explain(model: type[BaseModel], document: Document, keys: Keys, item: Any) -> InputError:
    kind, key = item["type"], keys[-1] if keys else ""
    if kind == "extra_forbidden":
        known = _fields_at(model, keys[:-1])
        guess = nearest(str(key), known)
        hint = f"; did you mean {guess!r}?" if guess else ""
        return document.error(keys[:-1] + (key,), f"unknown key; allowed: {', '.join(known)}{hint}")
    if kind == "missing":
        return document.error(keys[:-1], f"the key {key!r} is missing")
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind in ("value_error", "assertion_error"):
        return document.error(keys, message)
    given = item["input"]
    guess = nearest(given, re.findall(r"'([^']+)'", message)) if isinstance(given, str) else None
    hint = f"; did you mean {guess!r}?" if guess else ""
    return document.error(keys, f"must be {message.removeprefix('a valid ')}, got {_show(given)}{hint}")


def _show(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields_at(model: type[BaseModel], keys: Keys) -> list[str]:
    """Return the keys that `model` allows at the place `keys`."""
    current: Any = model
    for key in keys:
        options = [option for option in _models_in(current) if key in option.model_fields]
        if isinstance(key, str) and options:
            current = options[0].model_fields[key].annotation
    return sorted({name for option in _models_in(current) for name in option.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, list, tuple, dict) or get_args(annotation):
        return [model for argument in get_args(annotation) for model in _models_in(argument)]
    return []


class _Dumper(yaml.SafeDumper):
    """Writes the innermost mappings in one line, as people write placements."""


def _represent_mapping(dumper: _Dumper, data: dict[str, Any]) -> yaml.MappingNode:
    flat = bool(data) and not any(isinstance(value, dict | list) for value in data.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=flat)


_Dumper.add_representer(dict, _represent_mapping)


def dump_yaml(data: Any) -> str:
    """Return `data` as YAML text, keys in the order given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
