"""Reading YAML files so that every mistake is answered with its file, line and key."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from search_spaces.config import Config
from search_spaces.errors import InputError, nearest
from search_spaces.yaml_text import Key, Keys, YamlError, dump_yaml, load_text

__all__ = ["Document", "dump_yaml", "parse_yaml", "read_yaml", "validate"]

ConfigT = TypeVar("ConfigT", bound=Config)

_MAX_MISTAKES = 5
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "{key: value, ...}",
}
"""What pydantic's errors of a kind want, in words."""


@dataclass(frozen=True)
class Document:
    """What a YAML file says, and on which line it says it."""

    data: Any
    name: str = "<input>"
    folder: Path = field(default_factory=Path)
    """Relative paths inside the document start here."""
    lines: Mapping[Keys, int] = field(default_factory=dict)
    """From the path of keys to the line (from 1) where that key stands."""
    above: Keys = ()
    """The keys that lead to this part of the file."""

    def error(self, keys: Sequence[Key], what: str) -> InputError:
        """Return the error `what` at the place `keys`, named by file, line and key."""
        return _located(self.name, self.line(keys), (*self.above, *keys), what)

    def line(self, keys: Sequence[Key]) -> int | None:
        """Return the line where the last of `keys` stands that the file has; None if it was not read from one."""
        keys = tuple(keys)
        return next((self.lines[keys[:n]] for n in range(len(keys), -1, -1) if keys[:n] in self.lines), None)

    def child(self, *keys: Key) -> "Document":
        """Return the part of the document under `keys`, which keeps its own line numbers."""
        data = self.data
        for key in keys:
            data = data[key]
        depth = len(keys)
        lines = {path[depth:]: line for path, line in self.lines.items() if path[:depth] == keys}
        return Document(data, self.name, self.folder, lines, (*self.above, *keys))


def _located(name: str, line: int | None, keys: Keys, what: str) -> InputError:
    place = name if line is None else f"{name}, line {line}"
    return InputError(f"{place}: {_describe_keys(keys)}{what}")


def _describe_keys(keys: Iterable[Key]) -> str:
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
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: cannot be read: it is not text in UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_yaml(text, name=str(path), folder=path.parent)


def parse_yaml(text: str, name: str = "<input>", folder: Path | None = None) -> Document:
    """Parse YAML text; `name` stands in the messages. Raises InputError as `read_yaml` does."""
    try:
        data, lines = load_text(text)
    except YamlError as error:
        raise _located(name, error.line, error.keys, str(error)) from None
    return Document(data, name, folder or Path(), lines)


def validate(model: type[ConfigT], document: Document, at: Sequence[Key] = ()) -> ConfigT:
    """Return the document as `model`; `at` leads to it from where the document's lines start.

    Raises:
        InputError: one line per mistake, each with file, line, key, what was allowed and the nearest name.
    """
    data = document.data
    if not isinstance(data, dict):
        raise document.error(at, f"expected keys ({', '.join(model.model_fields)}), got {_show(data)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        messages: dict[Keys, list[str]] = {}
        for item in error.errors():
            place, message = _explain(model, _keys_of(item, data), item)
            messages.setdefault(place, []).append(message)
        found = sorted(_only_deepest(messages).items(), key=lambda item: document.line((*at, *item[0])) or 0)
        mistakes = [str(document.error((*at, *place), _join(texts))) for place, texts in found]
        more = [f"... and {len(mistakes) - _MAX_MISTAKES} more mistakes"] if len(mistakes) > _MAX_MISTAKES else []
        raise InputError("\n".join(mistakes[:_MAX_MISTAKES] + more)) from None


def _keys_of(item: Any, data: Any) -> Keys:
    """Return an error's location without what pydantic adds for the branches of a union: no key of the data."""
    keys: list[Key] = []
    for key in item["loc"]:
        in_dict = isinstance(data, dict) and key in data
        if in_dict or (isinstance(data, list) and isinstance(key, int) and key < len(data)):
            data = data[key]
            keys.append(key)
    return (*keys, item["loc"][-1]) if item["type"] == "missing" else tuple(keys)


def _only_deepest(messages: dict[Keys, list[str]]) -> dict[Keys, list[str]]:
    """Leave out what a union says of the whole where one of its branches says it of a part."""
    return {
        keys: found
        for keys, found in messages.items()
        if not any(len(other) > len(keys) and other[: len(keys)] == keys for other in messages)
        or not all(message.startswith("must be ") for message in found)
    }


def _join(messages: list[str]) -> str:
    """Return the answers of a union's branches as one: `must be a or b, got c`."""
    unique = list(dict.fromkeys(messages))
    parts = [re.fullmatch(r"must be (.*)(, got .*)", message, re.DOTALL) for message in unique]
    if len(unique) == 1 or not all(parts):
        return "; ".join(unique)
    wanted = dict.fromkeys(part[1] for part in parts if part)
    if "a number" in wanted:
        wanted.pop("a whole number", None)
    got = parts[-1][2] if parts[-1] else ""
    return f"must be {' or '.join(wanted)}{got}"


def _explain(model: type[BaseModel], keys: Keys, item: Any) -> tuple[Keys, str]:
    """Return where the mistake is reported, and what it is."""
    kind, key = item["type"], keys[-1] if keys else ""
    if kind == "extra_forbidden":
        known = _fields_at(model, keys[:-1])
        return keys, f"unknown key; allowed: {', '.join(known)}{_guess(str(key), known)}"
    if kind == "missing":
        return keys[:-1], f"the key {key!r} is missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind in ("value_error", "assertion_error"):
        return keys, message
    if kind == "too_short":
        return keys, f"must not be empty, got {_show(item['input'])}"
    if kind == "model_type":
        message = f"keys with values (allowed: {', '.join(_fields_at(model, keys))})"
    wanted = _EXPECTED.get(kind, message)
    if "[key]" in item["loc"]:
        wanted = "a key that is text"
    given = item["input"]
    hint = _guess(given, re.findall(r"'([^']+)'", message)) if isinstance(given, str) else ""
    return keys, f"must be {wanted}, got {_show(given)}{hint}"


def _guess(name: str, known: Iterable[str]) -> str:
    guess = nearest(name, known)
    return f"; did you mean {guess!r}?" if guess else ""


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
