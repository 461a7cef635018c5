"""A node of a graph as an expression of Python."""

import builtins
import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from nas.export.code.errors import CannotWriteError
from nas.export.code.file_names import FileNames
from nas.export.code.sources import Sources
from nas.export.code.values import Arg, Call, Literal, Name, Value, as_one, is_literal, literal, render

_INFIX: dict[Any, str] = {
    operator.add: "+",
    operator.iadd: "+",
    operator.sub: "-",
    operator.isub: "-",
    operator.mul: "*",
    operator.imul: "*",
    operator.truediv: "/",
    operator.itruediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.matmul: "@",
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.gt: ">",
    operator.le: "<=",
    operator.ge: ">=",
}
_FUNCTIONAL = {value: name for name, value in vars(functional).items() if callable(value) and not name.startswith("_")}


class Expressions:
    """Writes what nodes compute, given how to write the values that they read."""

    def __init__(self, names: FileNames, sources: Sources) -> None:
        self._names = names
        self._sources = sources

    def function(self, node: fx.Node, read: Callable[[fx.Node], Value]) -> Value:
        """Return a call of a function or method. Raises CannotWriteError for one that torch does not have."""
        if node.op == "call_method":
            first, *rest = node.args
            return Call(f"{self._atom(first, read)}.{node.target}", self._args(rest, node.kwargs, read))
        target: Any = node.target
        if target is operator.getitem:
            return Name(f"{self._atom(node.args[0], read)}[{self._index(node.args[1], read)}]")
        if target is builtins.getattr:
            return Name(f"{self._atom(node.args[0], read)}.{node.args[1]}")
        if target in _INFIX and not node.kwargs:
            left, right = (self._atom(arg, read) for arg in node.args)
            return Name(f"{left} {_INFIX[target]} {right}", is_atom=False)
        if target is operator.neg:
            return Name(f"-{self._atom(node.args[0], read)}", is_atom=False)
        return Call(self._function_name(target), self._args(node.args, _given(target, node.kwargs), read))

    def args(self, node: fx.Node, read: Callable[[fx.Node], Value]) -> tuple[Arg, ...]:
        """Return the arguments of a call."""
        return self._args(node.args, node.kwargs, read)

    def _function_name(self, target: Any) -> str:
        name = str(getattr(target, "__name__", ""))
        if target in _FUNCTIONAL:
            return f"F.{_FUNCTIONAL[target]}"
        if getattr(torch, name, None) is target:
            return f"torch.{name}"
        if getattr(builtins, name, None) is target:
            return name
        module = str(getattr(target, "__module__", None) or "")
        if module == "math":
            self._names.imports.add("import math")
            return f"math.{name}"
        if inspect.isfunction(target) and not module.startswith("torch."):
            return self._sources.copy(target)
        raise CannotWriteError(f"it calls {target}, which has no name in torch")

    def _args(self, args: Any, kwargs: dict[str, Any], read: Callable[[fx.Node], Value]) -> tuple[Arg, ...]:
        positional = tuple(Arg(self._value(arg, read)) for arg in args)
        return positional + tuple(Arg(self._value(arg, read), name) for name, arg in kwargs.items())

    def _value(self, arg: Any, read: Callable[[fx.Node], Value]) -> Value:
        if isinstance(arg, fx.Node):
            return read(arg)
        if isinstance(arg, tuple | list) and not is_literal(list(arg)):
            values = tuple(self._value(each, read) for each in arg)
            if isinstance(arg, list):
                return as_one(values)
            inside = ", ".join(render(each, 0, -10_000) for each in values)
            return Name(f"({inside}{',' if len(values) == 1 else ''})")
        if isinstance(arg, list | tuple):
            return Literal(list(arg) if isinstance(arg, list) else tuple(arg))
        try:
            literal(arg)
        except TypeError as error:
            raise CannotWriteError(str(error)) from None
        return Literal(arg)

    def _atom(self, arg: Any, read: Callable[[fx.Node], Value]) -> str:
        value = self._value(arg, read)
        text = render(value, 0, -10_000)
        negative = isinstance(value, Literal) and isinstance(value.value, int | float) and value.value < 0
        return f"({text})" if negative or (isinstance(value, Name) and not value.is_atom) else text

    def _index(self, index: Any, read: Callable[[fx.Node], Value]) -> str:
        if isinstance(index, tuple):
            return ", ".join(self._index(each, read) for each in index)
        if isinstance(index, slice):
            start, stop = ("" if end is None else self._index(end, read) for end in (index.start, index.stop))
            return f"{start}:{stop}" + ("" if index.step is None else f":{self._index(index.step, read)}")
        if index is Ellipsis:
            return "..."
        return render(self._value(index, read), 0, -10_000)


def _given(function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the named arguments of a call without those that are the function's defaults."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return kwargs
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return {
        name: value
        for name, value in kwargs.items()
        if name not in defaults or type(value) is not type(defaults[name]) or value != defaults[name]
    }
