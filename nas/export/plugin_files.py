"""The files of a user's own modules, which go into an export with the network."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from search_spaces import Architecture
from search_spaces.errors import InputError
from search_spaces.plugins import Plugin, plugins_of

_PLUGINS = "plugins"
"""The folder of the user's own modules."""


def copy_plugins(folder: Path, architecture: Architecture) -> tuple[list[str], list[str]]:
    """Copy the files that the network's own modules come from; return those to load, and packages that stay outside."""
    used = plugins_of(modules_of(architecture))
    files_of = [plugin for plugin in used if not plugin.in_package]
    if files_of:
        (folder / _PLUGINS).mkdir()
    for plugin in files_of:
        for name, source in _single_files(plugin):
            shutil.copyfile(source, folder / _PLUGINS / f"{name}.py")
    copied = [f"{_PLUGINS}/{plugin.module}.py" for plugin in files_of]
    return copied, [plugin.module for plugin in used if plugin.in_package]


def modules_of(architecture: Architecture) -> list[str]:
    """Return the names of the attention modules of an architecture, each once."""
    return list(dict.fromkeys(spec.module for _, specs in architecture.items for spec in specs))


def _single_files(plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Yield the modules of a plugin and their files. Raises InputError if it needs a package that lies beside it."""
    for name in plugin.sources:
        source = sys.modules[name].__file__
        if "." in name or hasattr(sys.modules[name], "__path__") or source is None:
            raise InputError(
                f"{plugin.given} imports the package {name.split('.')[0]} beside it, which an export does not hold; "
                "move the modules into the package and pass that with --plugins, or all into one file"
            )
        yield name, source
