"""What is checked of a user's attention module when its file is loaded, so that a mistake is answered at once."""

import inspect
import json
import traceback
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import PydanticUserError
from torch import Tensor, nn

from search_spaces.attention.knobs import where
from search_spaces.attention.registry import KINDS, RESOLUTION, ConvGeometry, ModuleEntry, check_knobs, effective
from search_spaces.errors import InputError

_WIDTHS = (64, 256, 16)
_SIZE = (14, 14)
_SOURCES = ((32, (7, 7)), (16, (14, 14)))
"""Widths and sizes of what a bridge reads."""


def infer_kind(cls: type[nn.Module]) -> str:
    """Return the kind that a class's signatures show.

    Raises:
        InputError: they are of no kind.
    """
    taken = _positional(cls)
    taken = taken[:-1] if taken[-1:] == (RESOLUTION,) else taken
    given = _positional(cls.forward)[1:]
    if taken == ("channels",):
        if len(given) == 1:
            return "gate"
        if len(given) == 2:
            return "recurrent" if given[1] == "state" else "merge"
    kinds = [kind for kind, spec in KINDS.items() if spec.positional == taken != ("channels",)]
    if kinds:
        return kinds[0]
    raise InputError(
        f"{where(cls)}: constructor ({', '.join(taken)}) and forward ({', '.join(given)}) are of no kind: "
        "a gate has (channels) and forward(x); a merge (channels) and forward(branch, shortcut); a recurrent module "
        "(channels) and forward(x, state); a bridge (channels, source_channels) and forward(x, sources); weights "
        "(conv) and forward(x). Knobs come after a star: (self, channels, *, reduction=16)"
    )


def _positional(function: Any) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


def check_module(found: ModuleEntry, cls: type[nn.Module]) -> None:
    """Build and run a user's module once without data.

    Raises:
        InputError: with file and class; a default that is not allowed, an error in the constructor or the
            forward pass, another shape than that of its kind.
    """
    try:
        _check_defaults(found)
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            _check_built(found)
    except InputError as error:
        raise InputError(f"{where(cls)}: {error}") from None
    except Exception as error:  # whatever a user's code raises
        raise InputError(f"{where(cls)}: {_describe(error, cls)}") from error


def _check_defaults(found: ModuleEntry) -> None:
    for knob in found.knobs.values():
        try:
            knob.check(knob.default, found.name)
        except PydanticUserError:
            raise InputError(
                f"knob {knob.name!r}: a file cannot give values of its type, {knob.annotation!r}"
            ) from None
        try:
            hash(knob.default)
            json.dumps(knob.default)
        except TypeError:
            raise InputError(
                f"knob {knob.name!r}: {knob.default!r} cannot stand in a file; use a number, text, true, false or null"
            ) from None


def _check_built(found: ModuleEntry) -> None:
    """Build it at a width that it does not refuse, and check what it answers."""
    refusals = []
    for channels in _WIDTHS:
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        widths = tuple(width for width, _ in _SOURCES)
        given = {"channels": channels, "source_channels": widths, "conv": conv, RESOLUTION: _SIZE}
        try:
            module = found.cls(*(given[name] for name in found.positional), **check_knobs(found.name, {}))
        except InputError as error:
            refusals.append(str(error))
            continue
        _check_answers(found.kind, module, channels, conv)
        _check_effective(found, channels, widths, conv)
        return
    raise InputError(f"it refuses maps of {', '.join(map(str, _WIDTHS))} channels, the last with: {refusals[-1]}")


def _check_answers(kind: str, module: nn.Module, channels: int, conv: nn.Conv2d) -> None:
    x, other = torch.empty(2, channels, *_SIZE), torch.empty(2, channels, *_SIZE)
    sources = [torch.empty(2, width, *size) for width, size in _SOURCES]
    more: dict[str, Sequence[Any]] = {"bridge": [sources], "merge": [other], "recurrent": [None]}
    answer = module(x, *more.get(kind, ()))
    if kind == "recurrent":
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise InputError(f"forward must return (x, state), got {_show(answer)}")
        answer = module(x, answer[1])[0]
    if not (isinstance(answer, Tensor) and answer.shape == x.shape):
        raise InputError(f"forward must return a map like its input, {_show(x)}, got {_show(answer)}")
    if kind != "weights":
        return
    kept = getattr(module, "weight", None)
    if not (isinstance(kept, nn.Parameter) and kept.shape[1:] == conv.weight.shape[1:] and hasattr(module, "bias")):
        raise InputError(
            "it must keep the convolution's parameters under their names: self.weight = conv.weight (or a Parameter "
            "of its first rows) and self.bias = conv.bias"
        )


def _check_effective(found: ModuleEntry, channels: int, widths: tuple[int, ...], conv: nn.Conv2d) -> None:
    geometry = ConvGeometry.of(conv) if found.kind == "weights" else None
    said = effective(found.name, {}, channels=channels, source_channels=widths, resolution=_SIZE, conv=geometry)
    try:
        hash(tuple(said.items()))
        json.dumps(said)
    except (AttributeError, TypeError):
        raise InputError(f"effective must return a dict of plain, hashable values, got {said!r}") from None


def _show(answer: Any) -> str:
    return f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"


def _describe(error: Exception, cls: type[nn.Module]) -> str:
    """Return an error in a line, with the line of the user's file that it passed last."""
    path = inspect.getfile(cls)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    place = f" (line {lines[-1]})" if lines else ""
    said = str(error).split("\n")[0]
    return f"{type(error).__name__}: {said}{place}; it was built and run without data (device meta), as for its costs"
