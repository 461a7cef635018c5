"""timm's attention layers by name: `timm/se`, `timm/gc`, ..., with the knobs that really change the network.

What there is and what a knob does is found out from the installed release by building: a layer that cannot be
built, or does not keep the shape of its input, is refused with the reason, and so is a knob that builds the same
network whatever its value. A layer may round a width or ignore a setting; two settings that build one network
are known to be one by what is built (`structure`).

Every layer is used as a gate, C -> C at stride 1, also those that timm's networks have in the place of a
convolution (`sk`, `splat`, `lambda`, `bottleneck`, `halo`, `nl`, `bat`).
"""

import ast
import importlib
import inspect
import json
import re
import textwrap
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import Field
from torch import Tensor, nn

from search_spaces.attention.knobs import Knob
from search_spaces.attention.registry import RESOLUTION, ModuleEntry, add_finder
from search_spaces.attention.structure import describe
from search_spaces.errors import InputError, unknown

PREFIX = "timm/"

Setting = tuple[str, Any]
Size = tuple[int, int]

_WIDTHS = (64, 256)
_SIZE = (56, 112)
"""What is tried where no size is given: no width of `_WIDTHS`, not square, whole blocks of 7 and of 8."""
_OTHER_SIZES = ((8, 8), (7, 7), (5, 3))

_NO_KNOBS = re.compile(r"(dim_out|out_channels|stride|feat_size|device|dtype|\w*_layer|\w*drop\w*)")
"""Parameters that change the shape, are classes, or act on the training alone."""

_ATTENTION = re.compile(r".*(Attn|Attention|SqueezeExcite).*")
_INTS = (1, 2, 3, 4, 5, 7, 8, 16, 32)
_FLOATS = (1.0, 0.1)


def timm_names() -> list[str]:
    """Return the names of timm's attention layers that can be used. Raises InputError without timm."""
    return [name for name in _layers() if not why_unavailable(name)]


def why_unavailable(name: str) -> str | None:
    """Return why a layer of timm's cannot be used, or None if it can. Raises InputError without timm."""
    try:
        timm_entry(name)
    except InputError as error:
        return str(error)
    return None


def unavailable_timm_layers() -> dict[str, str]:
    """Return the reason for each of timm's named attention layers that cannot be used."""
    return {name: reason for name in _layers() if (reason := why_unavailable(name))}


@lru_cache(maxsize=256)
def timm_entry(name: str) -> ModuleEntry:
    """Return the entry of one of timm's layers.

    Raises:
        InputError: timm is not installed, an unknown name, a layer that cannot be used in this release.
    """
    layers = _layers()
    if name not in layers:
        raise unknown("layer of timm's", name, layers)
    make, cls = layers[name], _class_of(layers[name])
    try:
        _built(name, _WIDTHS[0], _SIZE, ())
    except InputError as error:
        raise InputError(f"{error}; it cannot be used in timm {_version()}") from None
    layer = TimmLayer(name, _depends_on_size(name))
    knobs, refused = _probe_knobs(name)
    summary = f"{cls.__module__}.{cls.__name__}"
    if first := inspect.cleandoc(cls.__doc__ or "").split("\n")[0].strip(" '`"):
        summary += f": {first.rstrip('.')}"
    if fixed := getattr(make, "keywords", None):
        summary += f" ({', '.join(f'{key}={value}' for key, value in fixed.items())} by default)"
    positional = ("channels", RESOLUTION) if layer.sized else ("channels",)
    return ModuleEntry(name, "gate", f"as in timm {_version()}", summary, layer, knobs, positional, refused)


@dataclass(frozen=True)
class TimmLayer:
    """Makes one of timm's layers for a site, and says what is built."""

    name: str
    sized: bool
    """It depends on the size of the map."""

    def __call__(self, channels: int, resolution: Size = _SIZE, **knobs: Any) -> nn.Module:
        """Return the layer. Raises InputError naming layer, knob and value where it cannot be built or run."""
        _built(self.name, channels, resolution, tuple(knobs.items()))
        return _make(self.name, channels, resolution, knobs)

    def effective(self, knobs: dict[str, Any], *, channels: int, resolution: Size, **_: object) -> dict[str, Any]:
        """Describe what is built, by building it."""
        size = resolution if self.sized else _SIZE
        return {"structure": _built(self.name, channels, size, tuple(knobs.items()))}

    def __str__(self) -> str:
        return f"{self.name} of timm {_version()}"


@lru_cache(maxsize=1)
def _layers() -> dict[str, Callable[..., nn.Module]]:
    """Return all of timm's attention layers by name: those of `get_attn`, and others that keep the shape."""
    try:
        timm_layers: Any = importlib.import_module("timm.layers")
        factory: Any = importlib.import_module("timm.layers.create_attn")
    except ModuleNotFoundError:
        raise InputError(
            "timm's layers need the package timm: pip install 'attention-placement-search[timm]'"
        ) from None
    layers = {f"{PREFIX}{name}": factory.get_attn(name) for name in _names_in(factory.get_attn)}
    known = {_class_of(make) for make in layers.values()}
    for name, cls in sorted(vars(timm_layers).items()):
        if isinstance(cls, type) and issubclass(cls, nn.Module) and _ATTENTION.fullmatch(name) and cls not in known:
            known.add(cls)
            if _keeps_shape(cls):
                layers[f"{PREFIX}{name}"] = cls
    return layers


def _names_in(get_attn: Callable[..., Any]) -> list[str]:
    """Return the names that a function compares its argument with."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(get_attn)))
    compared = [node.comparators[0] for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return [each.value for each in compared if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _keeps_shape(cls: type[nn.Module]) -> bool:
    shape = (2, _WIDTHS[0], *_SIZE)
    try:
        answer = describe(lambda: cls(_WIDTHS[0]), shape)[1]
    except Exception:  # whatever a layer says that is not for maps of channels
        return False
    return isinstance(answer, Tensor) and answer.shape == shape


def _class_of(make: Callable[..., nn.Module]) -> type[nn.Module]:
    cls = getattr(make, "func", make)  # of a partial
    assert isinstance(cls, type)
    return cls


def _version() -> str:
    return str(importlib.import_module("timm").__version__)


def _make(name: str, channels: int, resolution: Size, knobs: Mapping[str, Any]) -> nn.Module:
    make = _layers()[name]
    sized = {"feat_size": resolution} if "feat_size" in inspect.signature(make).parameters else {}
    return make(channels, **sized, **knobs)


@lru_cache(maxsize=10_000)
def _built(name: str, channels: int, resolution: Size, settings: tuple[Setting, ...]) -> str:
    """Return what is built; raise InputError if it cannot be built or run, or does not keep the shape."""
    knobs, shape = dict(settings), (2, channels, *resolution)
    try:
        structure, answer = describe(lambda: _make(name, channels, resolution, knobs), shape)
    except Exception as error:  # timm's layers refuse by whatever fails first
        reason = f"{type(error).__name__}: {_explain(error)}"
    else:
        if isinstance(answer, Tensor) and answer.shape == shape:
            return structure
        reason = f"it answers in the shape {tuple(getattr(answer, 'shape', ()))[1:]}, not in that of its input"
    where = f"{channels} channels" if resolution == _SIZE else "x".join(map(str, (channels, *resolution)))
    raise InputError(f"{name}{_knobs_to_blame(name, channels, resolution, knobs)} at {where}: {reason}")


def _explain(error: Exception) -> str:
    """Return an error's message, and the line of timm's that it comes from if there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "timm" in frame.filename]
    line = f"`{frames[-1].line}`" if frames else ""
    return str(error).split("\n")[0] or line


def _knobs_to_blame(name: str, channels: int, resolution: Size, knobs: Mapping[str, Any]) -> str:
    """Return the settings without which it might work: one that alone fails, else all that are not the default."""
    defaults = {key: p.default for key, p in inspect.signature(_layers()[name]).parameters.items()}
    changed = {key: value for key, value in knobs.items() if defaults.get(key) != value}
    if len(changed) > 1:
        for key, value in changed.items():
            if not _works(name, channels, resolution, {key: value}):
                changed = {key: value}
                break
    return " with " + ", ".join(f"{key}={value!r}" for key, value in changed.items()) if changed else ""


def _works(name: str, channels: int, resolution: Size, knobs: Mapping[str, Any]) -> bool:
    try:
        _built(name, channels, resolution, tuple(knobs.items()))
    except InputError:
        return False
    return True


def _depends_on_size(name: str) -> bool:
    built = _built(name, _WIDTHS[0], _SIZE, ())
    return any(
        not _works(name, _WIDTHS[0], size, {}) or _built(name, _WIDTHS[0], size, ()) != built for size in _OTHER_SIZES
    )


def _probe_knobs(name: str) -> tuple[dict[str, Knob], dict[str, str]]:
    """Return the knobs that change the network, and the reason for each parameter that is none."""
    parameters = list(inspect.signature(_layers()[name]).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    kinds = {p.name: kind for p in named if (kind := _type_of(p)) and not _NO_KNOBS.fullmatch(p.name)}
    values = {p.name: _values_to_try(kinds[p.name], p.default) for p in named if p.name in kinds}
    alone = {knob: value for knob in kinds if (value := _what_changes(name, knob, values[knob], {})) is not None}
    texts = _documented(_class_of(_layers()[name]))
    knobs: dict[str, Knob] = {}
    refused = {p.name: "shape, classes of layers, device and dropout are left to timm" for p in named}
    for p in (p for p in named if p.name in kinds):
        needed = [{}] if p.name in alone else _beside(name, p.name, values[p.name][:3], alone)
        if not needed:
            refused[p.name] = _why_no_knob(name, p.name, values[p.name])
            continue
        del refused[p.name]
        condition = "".join(f" (with {key}: {json.dumps(value)})" for key, value in needed[0].items())
        default = float(p.default) if kinds[p.name] is float and p.default is not None else p.default
        text = f"{texts.get(p.name, '')}{condition}".strip()
        knobs[p.name] = Knob(p.name, _annotation(kinds[p.name], p.default), default, text)
    return knobs, refused


def _beside(name: str, knob: str, values: Sequence[Any], others: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return under which one other setting a knob that does nothing beside the defaults changes the network."""
    settings = ({other: value} for other, value in others.items())
    return [beside for beside in settings if _what_changes(name, knob, values, beside) is not None][:1]


def _what_changes(name: str, knob: str, values: Iterable[Any], beside: Mapping[str, Any]) -> Any:
    """Return the first value that builds another network than the default beside other settings, or None."""
    for channels in _WIDTHS:
        if not _works(name, channels, _SIZE, beside):
            continue
        before = _built(name, channels, _SIZE, tuple(beside.items()))
        for value in values:
            changed = {**beside, knob: value}
            if _works(name, channels, _SIZE, changed) and _built(name, channels, _SIZE, (*changed.items(),)) != before:
                return value
    return None


def _why_no_knob(name: str, knob: str, values: Iterable[Any]) -> str:
    built = [value for value in values if any(_works(name, width, _SIZE, {knob: value}) for width in _WIDTHS)]
    if not built:
        return f"in timm {_version()} no other value than the default keeps the shape"
    return f"it changes nothing: timm {_version()} builds the same network with {_and(built)}"


def _and(values: Iterable[Any]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def _type_of(parameter: inspect.Parameter) -> type | None:
    """Return bool, int or float, from the annotation or else the default; None for what a file cannot give."""
    annotation, default = parameter.annotation, parameter.default
    if default is not None and not isinstance(default, bool | int | float):
        return None
    if annotation is parameter.empty:
        return int if default is None else type(default)  # `rd_channels=None` is a number of channels
    return next((kind for kind in (annotation, *get_args(annotation)) if kind in (bool, int, float)), None)


def _values_to_try(kind: type, default: Any) -> list[Any]:
    """Return some values of a kind, the default not among them."""
    values: tuple[Any, ...] = (True, False)
    if kind is int:
        values = _INTS if default is None else (*_INTS, 2 * default, default + 2)
    elif kind is float:
        values = _FLOATS if default is None else (*_FLOATS, 2 * default, default / 2)
    return [value for value in dict.fromkeys(values) if value != default]


def _annotation(kind: type, default: Any) -> Any:
    limits: dict[type, Any] = {bool: bool, int: Annotated[int, Field(ge=1)], float: Annotated[float, Field(gt=0)]}
    return limits[kind] | None if default is None else limits[kind]


def _documented(cls: type[nn.Module]) -> dict[str, str]:
    """Return what a class's docstrings say of its parameters, each in a line."""
    text = f"{cls.__doc__ or ''}\n{cls.__init__.__doc__ or ''}"
    lines = re.findall(r"^\s*(\w+)(?: ?\([^)\n]*\)+)?\s?:\s+(\S.*)$", text, re.MULTILINE)
    return {name: said.rstrip(".,") for name, said in lines}


def _find(name: str) -> ModuleEntry | None:
    return timm_entry(name) if name.startswith(PREFIX) else None


add_finder(_find)
