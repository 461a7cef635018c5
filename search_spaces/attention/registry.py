"""The registry of attention modules: their kinds, their knobs, and how to make one.

A module is a class with a fixed positional part, which its kind gives, and keyword-only knobs, each annotated
`Annotated[type, Field(description=...)]` and with its paper's value as default. The registry reads them off
the signature.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from torch import nn

from search_spaces.attention.identity import start_as_identity
from search_spaces.errors import InputError, nearest, unknown

INITS = ("paper", "identity")
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Kind:
    """What a module is given, and at which places (`*` stands for a number) it can go."""

    positional: tuple[str, ...]
    places: tuple[str, ...]


KINDS = {
    "gate": Kind(("channels",), ("after_conv*", "branch", "out", "end")),
    "bridge": Kind(("channels", "source_channels"), ("after_conv*", "branch")),
    "merge": Kind(("channels",), ("merge",)),
    "weights": Kind(("conv",), ("conv*",)),
}
"""gate: forward(x). bridge: forward(x, sources). merge: forward(branch, shortcut). weights: forward(x), in
the place of a convolution whose `weight` the module keeps as its own. x, branch and shortcut are (B, C, H,
W); all but weights answer in the shape of their first input."""


@dataclass(frozen=True)
class Knob:
    """A module's setting: what it may be and what it is by default."""

    name: str
    annotation: Any
    default: Any
    description: str

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.annotation, config=ConfigDict(strict=True, allow_inf_nan=False))

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of its values."""
        return self._adapter.json_schema() | {"default": self.default}

    @property
    def type_text(self) -> str:
        """What it may be, for a reader: `int >= 1`, `true | false`, `avg | max`."""
        schema = self.json_schema
        if "enum" in schema:
            return " | ".join(map(str, schema["enum"]))
        if schema.get("type") == "boolean":
            return "true | false"
        limits = [f"{sign} {schema[key]}" for sign, key in ((">=", "minimum"), ("<=", "maximum")) if key in schema]
        name = {"integer": "int", "number": "float"}.get(schema.get("type", ""), str(schema.get("type", "any")))
        return " ".join([name, *limits])

    def check(self, value: Any, module: str) -> Any:
        """Return the value; raise InputError if it is not allowed (types are strict: true is no int)."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
            choices = self.json_schema.get("enum", ())
            guess = nearest(value, choices) if isinstance(value, str) else None
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise InputError(f"knob {self.name!r} of {module}: {reason}, got {value!r}{hint}") from None


@dataclass(frozen=True)
class ModuleEntry:
    """A registered module."""

    name: str
    kind: str
    paper: str
    summary: str
    cls: type[nn.Module]
    knobs: dict[str, Knob]

    @property
    def places(self) -> tuple[str, ...]:
        """The places it can go to."""
        return KINDS[self.kind].places


_ENTRIES: dict[str, ModuleEntry] = {}


def register(name: str, *, kind: str, paper: str) -> Callable[[type[ModuleT]], type[ModuleT]]:
    """Enter a class under a name; its signature must be that of its kind (see the file's caption)."""

    def enter(cls: type[ModuleT]) -> type[ModuleT]:
        if name in _ENTRIES:
            raise ValueError(f"two modules are registered as {name!r}: {_ENTRIES[name].cls.__name__}, {cls.__name__}")
        summary = (inspect.getdoc(cls) or "").split("\n")[0]
        assert kind in KINDS, f"{name}: no kind {kind!r}"
        assert summary, f"{name} needs a docstring"
        _ENTRIES[name] = ModuleEntry(name, kind, paper, summary, cls, _read_knobs(cls, kind))
        return cls

    return enter


def _read_knobs(cls: type[nn.Module], kind: str) -> dict[str, Knob]:
    parameters = list(inspect.signature(cls).parameters.values())
    positional = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    assert positional == KINDS[kind].positional, f"{cls.__name__} takes {positional}, a {kind} takes {KINDS[kind]}"
    hints = get_type_hints(cls.__init__, include_extras=True)
    knobs = {}
    for parameter in parameters[len(positional) :]:
        name = parameter.name
        texts = [m.description for m in get_args(hints[name]) if isinstance(m, FieldInfo) and m.description]
        assert parameter.kind is parameter.KEYWORD_ONLY, f"{cls.__name__}: knob {name} must be keyword-only"
        assert parameter.default is not parameter.empty, f"{cls.__name__}: knob {name} needs a default"
        assert texts, f"{cls.__name__}: knob {name} needs a description"
        knobs[name] = Knob(name, hints[name], parameter.default, texts[-1])
    return knobs


def names() -> list[str]:
    """Return the names of all modules, sorted."""
    return sorted(_ENTRIES)


def entry(name: str) -> ModuleEntry:
    """Return a module's entry; raise InputError with the near names if there is none."""
    if name not in _ENTRIES:
        raise unknown("module", name, names())
    return _ENTRIES[name]


def check_knobs(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every knob of a module in the order of its signature, defaults filled in.

    Raises:
        InputError: an unknown module or knob, a value of the wrong type or out of range.
    """
    knobs = entry(name).knobs
    for knob in given:
        if knob not in knobs:
            raise unknown(f"knob of {name}", str(knob), knobs)
    return {knob: spec.check(given[knob], name) if knob in given else spec.default for knob, spec in knobs.items()}


def create(
    name: str,
    *,
    init: str = "paper",
    channels: int | None = None,
    source_channels: tuple[int, ...] | None = None,
    conv: nn.Conv2d | None = None,
    **knobs: Any,
) -> nn.Module:
    """Make a module, on torch's current device and generator.

    Args:
        name: what `names()` lists.
        init: `paper`, or `identity`: exactly the identity of its place at first (see `identity`).
        channels: of x, branch and shortcut (gate, bridge, merge).
        source_channels: of the bridged tensors, in network order (bridge).
        conv: the convolution it stands for (weights).
        knobs: its paper's settings; the defaults are the paper's.

    Raises:
        InputError: an unknown name, a knob that is not allowed, a reduction above the channels, or an
        argument that is
            missing or is not of its kind.
    """
    found = entry(name)
    values = check_knobs(name, knobs)
    if init not in INITS:
        raise unknown("init", init, INITS)
    given = {"channels": channels, "source_channels": source_channels, "conv": conv}
    module = found.cls(*_positional(found, given), **values)
    return module if init == "paper" else start_as_identity(found.kind, module, conv)


def _positional(found: ModuleEntry, given: dict[str, Any]) -> list[Any]:
    wanted = KINDS[found.kind].positional
    if {key for key, value in given.items() if value is not None} != set(wanted):
        got = ", ".join(f"{key}={value!r}" for key, value in given.items() if value is not None) or "nothing"
        raise InputError(f"{found.name} is a {found.kind}: it needs {' and '.join(wanted)}, got {got}")
    widths = [given["channels"]] if "channels" in wanted else []
    widths += given["source_channels"] or ()
    if min(widths, default=1) < 1:
        raise InputError(f"channels must be 1 or more, got {', '.join(map(str, widths))}")
    return [given[key] for key in wanted]


def effective(
    name: str,
    knobs: Mapping[str, Any],
    *,
    channels: int,
    source_channels: tuple[int, ...] = (),
    resolution: tuple[int, int],
) -> dict[str, Any]:
    """Return what is built: equal for two settings of a module exactly if they build the same network there.

    Knobs without influence are left out and a reduction becomes a width. Values are hashable. A class says so
    by a static method `effective(knobs, *, channels, source_channels, resolution)`; without one, every knob
    counts as it is.

    Raises:
        InputError: as `check_knobs`, and a reduction above the channels.
    """
    values = check_knobs(name, knobs)
    describe = getattr(entry(name).cls, "effective", None)
    if describe is None:
        return values
    built: dict[str, Any] = describe(
        values, channels=channels, source_channels=tuple(source_channels), resolution=tuple(resolution)
    )
    return built
