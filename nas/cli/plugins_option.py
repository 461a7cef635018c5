"""The option `--plugins`, which every command has: a user's own modules are loaded before the command runs."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from search_spaces.plugins import load_plugins, loaded_plugins

PluginsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugins",
        metavar="FILE_OR_MODULE",
        help="Load attention modules of your own: a .py file, or a module or package to import. May be repeated.",
    ),
]


def load_given(plugins: list[str] | None) -> None:
    """Load what was given with the option. Raises InputError."""
    load_plugins(plugins or ())


def plugins_as_typed() -> str:
    """Return the option as it must be typed for the plugins that are loaded, after a space; nothing without any."""
    return "".join(f" --plugins {plugin.given}" for plugin in loaded_plugins())


def with_plugins(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with the option `--plugins`."""

    @functools.wraps(command)
    def run(*args: Any, plugins: list[str] | None = None, **kwargs: Any) -> Any:
        load_given(plugins)
        return command(*args, **kwargs)

    own = inspect.signature(command)
    option = inspect.Parameter("plugins", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=PluginsOption)
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "plugins": PluginsOption}
    return run
