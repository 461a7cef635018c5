"""A module's knobs: what each may be, and how they are read off a class's signature."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from torch import nn

from search_spaces.errors import InputError, nearest


@dataclass(frozen=True)
class Knob:
    """A module's setting: what it may be and what it is by default."""

    name: str
    annotation: Any
    default: Any
    description: str
    """Empty where a user's class says nothing."""

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.annotation, config=ConfigDict(strict=True, allow_inf_nan=False))

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of its values."""
        return self._adapter.json_schema() | {"default": self.default}

    @property
    def type_text(self) -> str:
        """What it may be, for a reader: `int >= 1`, `true | false`, `avg | max`, `int >= 1 | null`."""
        schema = self.json_schema
        return " | ".join(_type_text(each) for each in schema.get("anyOf", [schema]))

    def check(self, value: Any, module: str) -> Any:
        """Return the value; raise InputError if it is not allowed (types are strict: true is no int)."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
            choices = [choice for choice in self.json_schema.get("enum", ()) if isinstance(choice, str)]
            guess = nearest(value, choices) if isinstance(value, str) else None
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise InputError(f"knob {self.name!r} of {module}: {reason}, got {value!r}{hint}") from None


def _type_text(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "boolean":
        return "true | false"
    signs = ((">=", "minimum"), (">", "exclusiveMinimum"), ("<=", "maximum"), ("<", "exclusiveMaximum"))
    limits = [f"{sign} {schema[key]:g}" for sign, key in signs if key in schema]
    name = {"integer": "int", "number": "float", "string": "text"}.get(schema.get("type", ""))
    return " ".join([name or str(schema.get("type", "any")), *limits])


def where(cls: type) -> str:
    """Return the file and the name of a class, for a message about it."""
    try:
        path = Path(inspect.getfile(cls))
    except (OSError, TypeError):  # it was typed in, not read from a file
        return f"{cls.__module__}: class {cls.__qualname__}"
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}: class {cls.__qualname__}"


def read_signature(cls: type[nn.Module], wanted: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], dict[str, Knob]]:
    """Return the names of the positional parameters, one of `wanted`, and the knobs.

    Raises:
        InputError: another positional part, a knob that is not keyword-only, has no default or no type.
    """
    parameters = list(inspect.signature(cls).parameters.values())
    positional = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY))
    if positional not in wanted:
        raise InputError(f"{where(cls)}: {_explain_positional(positional, wanted)}")
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except Exception as error:  # whatever a string annotation evaluates to
        raise InputError(f"{where(cls)}: its annotations cannot be read: {error}") from None
    return positional, {p.name: _read_knob(cls, p, hints) for p in parameters[len(positional) :]}


def _explain_positional(positional: tuple[str, ...], wanted: Sequence[tuple[str, ...]]) -> str:
    allowed = " or ".join(f"({', '.join(names)})" for names in wanted)
    text = f"its constructor takes ({', '.join(positional)}) by position, it must take {allowed}"
    head = next((names for names in wanted if positional[: len(names)] == names), None)
    if head is None:
        return text
    return f"{text}; knobs come after a star: def __init__(self, {', '.join(head)}, *, {positional[len(head)]}=...)"


def _read_knob(cls: type[nn.Module], parameter: inspect.Parameter, hints: dict[str, Any]) -> Knob:
    name, knob = parameter.name, f"{where(cls)}: knob {parameter.name}"
    if parameter.kind is not parameter.KEYWORD_ONLY:
        raise InputError(f"{where(cls)}: *{name} and **{name} are no knobs; name each with its type and default")
    if parameter.default is parameter.empty:
        raise InputError(f"{knob} needs a default: {name}: <type> = <value>")
    if name not in hints:
        raise InputError(f"{knob} needs a type: {name}: {type(parameter.default).__name__} = {parameter.default!r}")
    texts = [m.description for m in get_args(hints[name]) if isinstance(m, FieldInfo) and m.description]
    return Knob(name, hints[name], parameter.default, texts[-1] if texts else "")
