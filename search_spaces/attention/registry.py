"""The registry of attention modules: their kinds, their knobs, and how to make one.

A module is a class with a fixed positional part, which its kind gives, and keyword-only knobs, each annotated
`Annotated[type, Field(description=...)]` and with its paper's value as default. The registry reads them off
the signature.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import nn

from search_spaces.attention.identity import how_identity_is_done, start_as_identity
from search_spaces.attention.knobs import Knob, read_signature, where
from search_spaces.errors import InputError, unknown

INITS = ("paper", "identity")
BRIDGED = ("block", "previous_conv", "previous_end", "previous_attention")
"""What a bridge may read: the block's earlier convolutions; of the block before it the last convolution, the
output, or the attention weights, each one tensor (the weights as (B, C, 1, 1))."""
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Kind:
    """What a module is given, and at which places (`*` stands for a number) it can go."""

    positional: tuple[str, ...]
    places: tuple[str, ...]


_PYRAMID_CONVS = ("lateral*", "output*")
_GATE_PLACES = ("after_conv*", "own*", "branch*", "concat*", "out", "end", *_PYRAMID_CONVS)

KINDS = {
    "gate": Kind(("channels",), _GATE_PLACES),
    "bridge": Kind(("channels", "source_channels"), ("after_conv*", "own*", "branch*")),
    "merge": Kind(("channels",), ("merge*", "concat*")),
    "weights": Kind(("conv",), ("conv*", *_PYRAMID_CONVS)),
    "recurrent": Kind(("channels",), _GATE_PLACES),
    "removal": Kind(("channels",), ("own*",)),
}
"""gate: forward(x). bridge: forward(x, sources). merge: forward(branch, shortcut). weights: forward(x), in
the place of a convolution whose `weight` (or its first rows) and `bias` the module keeps as its own.
recurrent: forward(x, state or None) -> (x, state), one instance along several sites, to which the state
goes on. removal: forward(x) -> x, in the place of the host's own attention. x, branch and shortcut are
(B, C, H, W); all but weights answer in the shape of their first input.

What weighs one map has its weights read as output over input (`reports.analysis`). A merge or a module on weights may
say where its own can be read: `gate_part`, the name of the part of it that returns them, (B, C), (B, C, 1, 1) or
(B, C, h, w)."""

RESOLUTION = "resolution"
"""The last positional parameter of a class, of whatever kind, that has to know the (H, W) of its site."""


@dataclass(frozen=True)
class ConvGeometry:
    """What the convolution is that a module of kind `weights` stands for."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    bias: bool

    @staticmethod
    def of(conv: nn.Conv2d) -> "ConvGeometry":
        """Return the geometry of a convolution."""
        return ConvGeometry(
            in_channels=conv.in_channels,
            out_channels=conv.out_channels,
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding if isinstance(conv.padding, str) else tuple(conv.padding),
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
        )


@dataclass(frozen=True)
class ModuleEntry:
    """A registered module."""

    name: str
    kind: str
    paper: str
    summary: str
    cls: Callable[..., nn.Module]
    """The class, or what makes its instances."""
    knobs: dict[str, Knob]
    positional: tuple[str, ...]
    """What its constructor is given: that of its kind, and `resolution` where it asks for it."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """From what looks like a knob and is none to the reason."""

    @property
    def definition(self) -> str:
        """The rest of its docstring: equations, shapes, departures."""
        text = inspect.cleandoc(self.cls.__doc__ or "") if isinstance(self.cls, type) else ""
        return text.partition("\n")[2].strip()

    @property
    def origin(self) -> str:
        """Where it comes from, for a reader."""
        return where(self.cls) if isinstance(self.cls, type) else str(self.cls)

    @property
    def identity(self) -> str:
        """How `init: identity` is done, in a line."""
        return how_identity_is_done(self.kind, self.cls)

    @property
    def places(self) -> tuple[str, ...]:
        """The places it can go to."""
        return KINDS[self.kind].places


_ENTRIES: dict[str, ModuleEntry] = {}

Finder = Callable[[str], ModuleEntry | None]
_FINDERS: list[Finder] = []

_NAME = re.compile(r"[A-Za-z][\w.+-]*")
_RESERVED = ("none",)


def register(name: str, *, kind: str, paper: str) -> Callable[[type[ModuleT]], type[ModuleT]]:
    """Enter a class under a name; its signature must be that of its kind (see the file's caption).

    Raises:
        InputError: a name that is taken or cannot be one, an unknown kind, no docstring, another signature.
    """

    def enter(cls: type[ModuleT]) -> type[ModuleT]:
        if name in _RESERVED or not _NAME.fullmatch(name):
            raise InputError(f"{where(cls)}: a module cannot be called {name!r}; letters, digits and _ make a name")
        enter_class(name, kind, paper, cls)
        return cls

    return enter


def enter_class(name: str, kind: str, paper: str, cls: type[nn.Module]) -> ModuleEntry:
    """Enter a class under a name as `register` does, and return its entry; any name will do that is free."""
    if name in _ENTRIES:
        raise InputError(
            f"two modules are registered as {name!r}: {_ENTRIES[name].origin} and {where(cls)}; rename one"
        )
    if kind not in KINDS:
        raise InputError(f"{where(cls)}: {unknown('kind', kind, KINDS)}")
    summary = inspect.cleandoc(cls.__doc__ or "").split("\n")[0]
    if not summary:
        raise InputError(f"{where(cls)}: it needs a docstring, whose first line says what it does")
    wanted = KINDS[kind].positional
    positional, knobs = read_signature(cls, [wanted, (*wanted, RESOLUTION)])
    _ENTRIES[name] = ModuleEntry(name, kind, paper, summary, cls, knobs, positional)
    return _ENTRIES[name]


def remove(name: str) -> None:
    """Take a module out again."""
    del _ENTRIES[name]


def add_finder(find: Finder) -> None:
    """Ask `find` for modules that are not registered; it returns None for names that are not its own."""
    _FINDERS.append(find)


def names() -> list[str]:
    """Return the names of all registered modules, sorted."""
    return sorted(_ENTRIES)


def entry(name: str, others: Sequence[str] = ()) -> ModuleEntry:
    """Return a module's entry.

    Args:
        name: what `names()` lists, or what a finder knows (`timm/se`, `my_package.my_file:MyAttention`).
        others: what else may stand in the place of the name, for the answer to an unknown one.

    Raises:
        InputError: there is none; the message names the near ones.
    """
    if name in _ENTRIES:
        return _ENTRIES[name]
    found = next((found for find in _FINDERS if (found := find(name))), None)
    if found is None:
        raise InputError(f"{unknown('module', name, [*others, *names()])}; one of your own needs --plugins")
    return found


def check_knobs(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every knob of a module in the order of its signature, defaults filled in.

    Raises:
        InputError: an unknown module or knob, a value of the wrong type or out of range.
    """
    found = entry(name)
    for knob in given:
        if knob in found.refused:
            raise InputError(f"knob {knob!r} of {name}: {found.refused[knob]}")
        if knob not in found.knobs:
            raise unknown(f"knob of {name}", str(knob), found.knobs)
    return {
        knob: spec.check(given[knob], name) if knob in given else spec.default for knob, spec in found.knobs.items()
    }


def create(
    name: str,
    *,
    init: str = "paper",
    channels: int | None = None,
    source_channels: tuple[int, ...] | None = None,
    conv: nn.Conv2d | None = None,
    resolution: tuple[int, int] | None = None,
    **knobs: Any,
) -> nn.Module:
    """Make a module, on torch's current device and generator.

    Args:
        name: what `names()` lists.
        init: `paper`, or `identity`: exactly the identity of its place at first (see `identity`).
        channels: of x, branch and shortcut (gate, bridge, merge).
        source_channels: of the bridged tensors, in network order (bridge).
        conv: the convolution it stands for (weights).
        resolution: (H, W) of the map at its place; may be given to any, must be to those that ask for it.
        knobs: its paper's settings; the defaults are the paper's.

    Raises:
        InputError: an unknown name, a knob that is not allowed, a reduction above the channels, or an
            argument that is missing or is not of its kind.
    """
    found = entry(name)
    values = check_knobs(name, knobs)
    if init not in INITS:
        raise unknown("init", init, INITS)
    given = {"channels": channels, "source_channels": source_channels, "conv": conv}
    module = found.cls(*_positional(found, given, resolution), **values)
    return module if init == "paper" else start_as_identity(found.kind, module)


def _positional(found: ModuleEntry, given: dict[str, Any], resolution: tuple[int, int] | None) -> list[Any]:
    wanted = KINDS[found.kind].positional
    if {key for key, value in given.items() if value is not None} != set(wanted):
        got = ", ".join(f"{key}={value!r}" for key, value in given.items() if value is not None) or "nothing"
        raise InputError(f"{found.name} is a {found.kind}: it needs {' and '.join(wanted)}, got {got}")
    widths = [given["channels"]] if "channels" in wanted else []
    widths += given["source_channels"] or ()
    if min(widths, default=1) < 1:
        raise InputError(f"channels must be 1 or more, got {', '.join(map(str, widths))}")
    if RESOLUTION in found.positional and resolution is None:
        raise InputError(f"{found.name} depends on the size of the map: it needs resolution=(H, W)")
    return [(given | {RESOLUTION: resolution})[key] for key in found.positional]


def bridge_from(name: str, knobs: Mapping[str, Any]) -> str:
    """Return what a module of kind `bridge` reads with these knobs, one of `BRIDGED`.

    A class whose knobs decide it says so by a static method `bridge_from(knobs)`; without one it is `block`.
    """
    say = getattr(entry(name).cls, "bridge_from", None)
    origin = say(check_knobs(name, knobs)) if say else "block"
    assert origin in BRIDGED, origin
    return str(origin)


def effective(
    name: str,
    knobs: Mapping[str, Any],
    *,
    channels: int,
    source_channels: tuple[int, ...] = (),
    resolution: tuple[int, int],
    conv: ConvGeometry | None = None,
) -> dict[str, Any]:
    """Return what is built: equal for two settings of a module exactly if they build the same network there.

    Knobs without influence are left out and a reduction becomes a width. Values are hashable. A class says so
    by a static method `effective(knobs, *, channels, source_channels, resolution, conv)`; without one, every
    knob counts as it is. `conv` is the convolution that a module of kind `weights` stands for.

    Raises:
        InputError: as `check_knobs`, and a reduction above the channels.
    """
    values = check_knobs(name, knobs)
    describe = getattr(entry(name).cls, "effective", None)
    if describe is None:
        return values
    built: dict[str, Any] = describe(
        values, channels=channels, source_channels=tuple(source_channels), resolution=tuple(resolution), conv=conv
    )
    return built
