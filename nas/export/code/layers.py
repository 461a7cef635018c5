"""The constructor calls that make layers again, read off the layers themselves."""

import inspect
from typing import Any

from torch import nn

from nas.export.code.errors import CannotWriteError
from nas.export.code.values import REQUIRED, Arg, Call, Items, Literal, Value, is_literal

_SKIPPED = ("device", "dtype")


def is_torch_layer(module: nn.Module) -> bool:
    """Return whether a module's very class is one of torch's."""
    return type(module).__module__.startswith("torch.nn.modules")


def torch_layer(module: nn.Module) -> Call:
    """Return the call that makes one of torch's layers.

    Raises:
        CannotWriteError: what it was given cannot be read off it.
    """
    if isinstance(module, nn.Sequential):
        return Call("nn.Sequential", tuple(Arg(_child(each)) for each in module))
    if isinstance(module, nn.ModuleList):
        return Call("nn.ModuleList", (Arg(Items(tuple(_child(each) for each in module))),))
    if type(module).__name__ not in nn.__dict__:
        raise CannotWriteError(f"torch.nn has no {type(module).__name__}")
    return constructor_call(f"nn.{type(module).__name__}", module)


def _child(module: nn.Module) -> Value:
    if not is_torch_layer(module):
        raise CannotWriteError(f"{type(module).__name__} inside of one of torch's containers")
    return torch_layer(module)


def constructor_call(name: str, module: nn.Module) -> Call:
    """Return the call of a class by `name` that makes a module whose attributes are named as what it was given.

    Raises:
        CannotWriteError: an argument without a default is no attribute, or one is no constant.
    """
    args = []
    for parameter in _parameters(type(module)):
        if parameter.name in _SKIPPED:
            continue
        value = _given(module, parameter)
        if not is_literal(value):
            raise CannotWriteError(f"{type(module).__name__} was given {parameter.name}={type(value).__name__}")
        required = parameter.default is inspect.Parameter.empty
        default = REQUIRED if required else parameter.default
        positional = required and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        shown = Literal(_short(parameter.name, value))
        args.append(Arg(shown, None if positional else parameter.name, default, parameter.name))
    return Call(name, tuple(args))


def _parameters(cls: type[nn.Module]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(parameter.kind in kinds for parameter in parameters):
        inherited = next((base for base in cls.__mro__[1:] if "__init__" in vars(base)), nn.Module)
        if inherited is nn.Module:
            return [parameter for parameter in parameters if parameter.kind not in kinds]
        raise CannotWriteError(f"what {cls.__name__} takes cannot be read off its signature")
    return parameters


def _given(module: nn.Module, parameter: inspect.Parameter) -> Any:
    """Return what a module was given under a name."""
    name = parameter.name
    if name == "bias" and name in module._parameters:
        return module._parameters[name] is not None
    if hasattr(module, name):
        value = getattr(module, name)
        return tuple(value) if isinstance(value, list) else value
    if parameter.default is not inspect.Parameter.empty:
        return parameter.default
    raise CannotWriteError(f"{type(module).__name__} does not keep its {name}")


_SIZES = ("kernel_size", "stride", "padding", "output_padding", "dilation", "output_size", "normalized_shape")


def _short(name: str, value: Any) -> Any:
    """Return (3, 3) as 3, where that is the same to the layer."""
    if name not in _SIZES or not isinstance(value, tuple) or len(set(value)) != 1:
        return value
    return value[0] if name != "normalized_shape" or len(value) == 1 else value
