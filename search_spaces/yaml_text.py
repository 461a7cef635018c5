"""YAML text to plain data with the line of every key, and back.

Numbers follow version 1.2 (https://yaml.org/spec/1.2.2, section 10.3.2): `1e-3` and `60e6` are floats, `no` and
`on` are strings. Duplicate keys are errors.
"""

import re
from typing import Any

import yaml

Key = str | int
Keys = tuple[Key, ...]

_MOST_NODES = 100_000
_DEEPEST = 50


class YamlError(Exception):
    """Text that is not YAML as it is wanted here; `line` counts from 1."""

    def __init__(self, what: str, line: int | None, keys: Keys = ()) -> None:
        super().__init__(what)
        self.line = line
        self.keys = keys


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalar types of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's name)


class _Dumper(yaml.SafeDumper):
    """Writes the innermost mappings in one line, as people write placements."""


# Strings that would be read as something else, in YAML 1.1 or 1.2, are written in quotes.
for _kind, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def _read_int(_loader: yaml.SafeLoader, node: yaml.Node) -> int:
    """Read 010 as ten; PyYAML would take it as octal, as YAML 1.1 had it."""
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _read_int)


def load_text(text: str) -> tuple[Any, dict[Keys, int]]:
    """Return what the text says, and the line from 1 on which each path of keys stands.

    Raises:
        YamlError: not YAML, a duplicate key, a key that is no word, aliases that never end.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        reader = _Reader(loader)
        return (None if node is None else reader.read(node, ())), reader.lines
    except yaml.MarkedYAMLError as error:
        raise _explain(error) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"not valid YAML: the character {chr(error.character)!r} is not allowed", line) from None
    except RecursionError:
        raise YamlError("nested too deeply", None) from None


def _explain(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    hint = ""
    if "alias" in f"{error.context} {error.problem}":
        hint = '; a selector that begins with * needs quotes: "*/branch"'
    elif "\\t" in f"{error.problem}":
        hint = "; indent with spaces, not with tabs"
    start = error.context_mark
    begun = f" (in what begins on line {start.line + 1})" if start and mark and start.line < mark.line else ""
    return YamlError(f"not valid YAML: {error.problem}{begun}{hint}", mark.line + 1 if mark else None)


class _Reader:
    """Turns the nodes of one document into plain data, and notes on which line each key stands."""

    def __init__(self, loader: _Loader) -> None:
        self.lines: dict[Keys, int] = {}
        self._loader = loader
        self._num_nodes = 0
        self._flat: set[int] = set()

    def read(self, node: yaml.Node, keys: Keys) -> Any:
        line = node.start_mark.line + 1
        self._num_nodes += 1
        # Also where an alias refers to itself, or to many that refer to many.
        if len(keys) > _DEEPEST or self._num_nodes > _MOST_NODES:
            raise YamlError("nested too deeply (does an alias refer to itself?)", line)
        self.lines.setdefault(keys, line)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*keys, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, keys)
        return self._read_scalar(node)

    def _read_mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[Key, Any]:
        if id(node) not in self._flat:
            # Only once: after flattening, an inherited key that is overridden stands there twice.
            _refuse_duplicates(node, keys)
            self._flat.add(id(node))
            self._loader.flatten_mapping(node)
        result: dict[Key, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._read_scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise YamlError(f"a key must be a word, got {_show_key(key_node)}", line, keys)
            self.lines[(*keys, key)] = line
            result[key] = self.read(value_node, (*keys, key))
        return result

    def _read_scalar(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node)
        except (ValueError, KeyError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise YamlError(f"{node.value[:40]!r} is no {kind}", node.start_mark.line + 1) from None


def _show_key(node: yaml.Node) -> str:
    return repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list or a mapping"


def _refuse_duplicates(node: yaml.MappingNode, keys: Keys) -> None:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen and key != "<<":
            raise YamlError(f"duplicate key {key!r}, first given on line {seen[key]}", line, keys)
        seen[key] = line


def _represent_mapping(dumper: _Dumper, data: dict[str, Any]) -> yaml.MappingNode:
    flat = bool(data) and not any(isinstance(value, dict | list) for value in data.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=flat)


_Dumper.add_representer(dict, _represent_mapping)


def dump_yaml(data: Any) -> str:
    """Return `data` as YAML text, keys in the order given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
