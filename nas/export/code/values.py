"""Pieces of Python that are written: calls, lists and names, and how they break over lines."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 120
"""Characters in a line of what is written."""


class _Required:
    """Stands for the default of an argument that has none."""


REQUIRED = _Required()


@dataclass(frozen=True)
class Name:
    """An expression that is short enough to stand as it is."""

    text: str
    is_atom: bool = True
    """Whether it can be called, indexed or combined without parentheses."""


@dataclass(frozen=True)
class Literal:
    """A constant."""

    value: Any


@dataclass(frozen=True)
class Arg:
    """An argument of a call; without a name it stands by its position."""

    value: "Value"
    name: str | None = None
    default: Any = field(default=REQUIRED, compare=False)
    """What is left out if it is the value; `REQUIRED`: it is always written."""
    slot: str = field(default="", compare=False)
    """What the parameter is called, also where it stands by its position."""

    @property
    def is_default(self) -> bool:
        """Whether it need not be written."""
        if isinstance(self.default, _Required) or not isinstance(self.value, Literal):
            return False
        return type(self.value.value) is type(self.default) and self.value.value == self.default


@dataclass(frozen=True)
class Call:
    """A call of a function or class."""

    function: "str | Value"
    args: tuple[Arg, ...] = ()


@dataclass(frozen=True)
class Items:
    """A list, or a dictionary if there are keys."""

    values: tuple["Value", ...]
    keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ref:
    """Stands for the call of a class that is not written yet."""

    key: str


Value = Name | Literal | Call | Items | Ref


def fill(value: Value, calls: Mapping[str, "Value"]) -> Value:
    """Return a value with calls in the place of what stands for them."""
    if isinstance(value, Ref):
        return calls[value.key]
    if isinstance(value, Items):
        return Items(tuple(fill(each, calls) for each in value.values), value.keys)
    if isinstance(value, Call):
        args = (Arg(fill(arg.value, calls), arg.name, arg.default, arg.slot) for arg in value.args)
        return Call(value.function, tuple(args))
    return value


def refs(value: Value) -> list[str]:
    """Return the keys in a value of what is not written yet."""
    if isinstance(value, Ref):
        return [value.key]
    if isinstance(value, Name | Literal):
        return []
    return [key for _, part in _all_parts(value) for key in refs(part)]


def render(value: Value, indent: int = 0, before: int = 0, after: int = 0) -> str:
    """Return a value as text, broken over lines if it does not fit.

    Args:
        value: what is written.
        indent: spaces before the line that it stands in.
        before: characters before it in this line, indentation included.
        after: characters behind it in its last line.
    """
    flat = _flat(value)
    if before + len(flat) + after <= WIDTH or isinstance(value, Name | Literal):
        return flat
    assert not isinstance(value, Ref)
    inner = indent + 4
    opening, closing = _brackets(value)
    parts = [(prefix, each) for prefix, each in _parts(value)]
    if not parts:
        return flat
    alone = ", ".join(prefix + _flat(each) for prefix, each in parts)
    if inner + len(alone) <= WIDTH and isinstance(value, Call):
        return f"{opening}\n{' ' * inner}{alone}\n{' ' * indent}{closing}"
    # A list that is the only argument has no comma behind it.
    comma = "" if isinstance(value, Call) and len(parts) == 1 and not parts[0][0] else ","
    lines = [
        f"{' ' * inner}{prefix}{render(each, inner, inner + len(prefix), len(comma))}{comma}" for prefix, each in parts
    ]
    return "\n".join([opening, *lines, f"{' ' * indent}{closing}"])


def _flat(value: Value) -> str:
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Literal):
        return literal(value.value)
    assert not isinstance(value, Ref)
    opening, closing = _brackets(value)
    return opening + ", ".join(prefix + _flat(each) for prefix, each in _parts(value)) + closing


def _brackets(value: Call | Items) -> tuple[str, str]:
    if isinstance(value, Call):
        function = value.function if isinstance(value.function, str) else _flat(value.function)
        return f"{function}(", ")"
    return ("[", "]") if value.keys is None else ("{", "}")


def _parts(value: Call | Items) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Items):
        keys = [""] * len(value.values) if value.keys is None else [f"{json.dumps(key)}: " for key in value.keys]
        yield from zip(keys, value.values, strict=True)
        return
    for arg in value.args:
        if not arg.is_default:
            yield ("" if arg.name is None else f"{arg.name}="), arg.value


def literal(value: Any) -> str:
    """Return a constant as Python writes it, with strings in double quotes.

    Raises:
        TypeError: it is none that can be written.
    """
    if isinstance(value, str):
        return json.dumps(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    text = str(value)
    if text.startswith("torch."):  # types, layouts
        return text
    raise TypeError(f"{type(value).__name__} {value!r} is no constant")


def is_literal(value: Any) -> bool:
    """Return whether `literal` can write a value."""
    if isinstance(value, tuple | list):
        return all(map(is_literal, value))
    return value is None or isinstance(value, bool | int | float | str)


def literals(value: Value) -> list[Any]:
    """Return the constants in a value, in their order."""
    if isinstance(value, Literal):
        return [value.value]
    if isinstance(value, Name | Ref):
        return []
    return [each for _, part in _all_parts(value) for each in literals(part)]


def _all_parts(value: Call | Items) -> Iterator[tuple[str | None, Value]]:
    """Yield every part with its name, those that are left out in writing included."""
    if isinstance(value, Items):
        yield from ((None, each) for each in value.values)
        return
    yield from ((arg.name or arg.slot, arg.value) for arg in value.args)


def replace_literals(value: Value, make: Callable[[Any], Value]) -> Value:
    """Return a value with every constant replaced, in their order."""
    if isinstance(value, Literal):
        return make(value.value)
    if isinstance(value, Name | Ref):
        return value
    if isinstance(value, Items):
        return Items(tuple(replace_literals(each, make) for each in value.values), value.keys)
    args = tuple(Arg(replace_literals(arg.value, make), arg.name, arg.default, arg.slot) for arg in value.args)
    return Call(value.function, args)


def slot_names(value: Value, path: str = "") -> list[str]:
    """Return for each constant in a value the name of the argument that it is given as, empty where it has none."""
    if isinstance(value, Literal):
        return [path]
    if isinstance(value, Name | Ref):
        return []
    return [each for name, part in _all_parts(value) for each in slot_names(part, name or "")]


def signature(name: str, parameters: Sequence[str], returns: str, indent: int) -> str:
    """Return the first line of a function's definition, or the first lines."""
    line = f"{' ' * indent}def {name}({', '.join(parameters)}) -> {returns}:"
    if len(line) <= WIDTH:
        return line
    inner = ", ".join(parameters)
    if indent + 4 + len(inner) <= WIDTH:
        return f"{' ' * indent}def {name}(\n{' ' * (indent + 4)}{inner}\n{' ' * indent}) -> {returns}:"
    lines = [f"{' ' * (indent + 4)}{parameter}," for parameter in parameters]
    return "\n".join([f"{' ' * indent}def {name}(", *lines, f"{' ' * indent}) -> {returns}:"])


def as_one(values: Sequence[Value]) -> Value:
    """Return a list of values; of all elements of a variable in their order, the variable."""
    texts = [value.text if isinstance(value, Name) else "" for value in values]
    whole = texts[0].partition("[")[0] if texts else ""
    if whole and texts == [f"{whole}[{number}]" for number in range(len(texts))]:
        return Name(whole)
    return Items(tuple(values))
