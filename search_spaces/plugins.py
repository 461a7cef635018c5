"""A user's own modules: files and packages that are loaded on request, and what was loaded.

A plugin is a Python file, or a module or package that can be imported (from the current folder, too). Its
classes become modules by the decorator `search_spaces.attention.register`, or by their name in a file,
`my_package.my_file:MyAttention`. Nothing is loaded that was not asked for.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from search_spaces.attention.registry import ModuleEntry, add_finder, enter_class, entry, names, remove
from search_spaces.errors import InputError, unknown
from search_spaces.plugin_checks import check_module, infer_kind
from search_spaces.plugin_files import Place, Sources, digest, find_digest, hides_another, import_plugin, locate


@dataclass(frozen=True)
class Plugin:
    """A file or package of a user's modules."""

    module: str
    """The name it is imported under."""
    path: str | None
    """The file, as an absolute path; None if it is imported by its name."""
    sources: Sources
    """What was imported with it from the same folder, and the current one."""

    @property
    def given(self) -> str:
        """What to write after `--plugins` in this folder."""
        if self.path is None:
            return self.module
        near = os.path.relpath(self.path)
        return self.path if near.startswith("..") else near

    @property
    def place(self) -> Place:
        """Where it is imported from."""
        return Place(self.module, Path(self.path) if self.path else None)

    @property
    def in_package(self) -> bool:
        """Whether it is or lies in a package, so that its file is no use without the others."""
        return "." in self.module or hasattr(sys.modules.get(self.module), "__path__")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"module": self.module, "path": self.path, "sources": self.sources}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Plugin":
        """Return the plugin of `to_dict`."""
        return Plugin(data["module"], data["path"], dict(data["sources"]))

    @property
    def is_loaded(self) -> bool:
        """Whether a plugin of this name is loaded."""
        return self.module in _LOADED

    def changes(self) -> list[str]:
        """Return in words how the sources of the loaded plugin of this name differ; empty if they do not."""
        loaded = _LOADED[self.module]
        # What is imported only when a class in it is named may not be loaded yet.
        now = {name: loaded.sources.get(name) or find_digest(name, loaded.place.folders) for name in self.sources}
        return [
            f"{name}: its SHA-256 was {before[:8]}, {f'is {found[:8]}' if (found := now[name]) else 'it is gone'}"
            for name, before in sorted(self.sources.items())
            if now[name] != before
        ]


_LOADED: dict[str, Plugin] = {}


def load_plugins(given: Iterable[str | Path]) -> tuple[Plugin, ...]:
    """Load files or modules of a user's; what is loaded already is not loaded again.

    Args:
        given: paths that end in `.py`, folders with an `__init__.py`, or names to import; the current folder and
            that of a file are searched.

    Raises:
        InputError: a file or module that cannot be found or imported, a name that is taken, a mistake in one of
            its modules (see `plugin_checks`); then nothing of that plugin is registered.
    """
    return tuple(_load(locate(str(each)), str(each)) for each in given)


def load_recorded(plugin: Plugin) -> None:
    """Load in this process what another process had loaded.

    Raises:
        InputError: as `load_plugins`, or its source is another by now.
    """
    load_plugins([plugin.path or plugin.module])
    if changes := plugin.changes():
        raise InputError(f"the plugin {plugin.given} changed after it was loaded: {'; '.join(changes)}")


def plugins_of(modules: Iterable[str]) -> tuple[Plugin, ...]:
    """Return the plugins that these attention modules come from.

    Raises:
        InputError: a module that is neither shipped nor of a plugin, so that no other process could find it.
    """
    found: dict[str, Plugin] = {}
    for name in modules:
        home = _home(entry(name))
        if home.split(".")[0] == __name__.split(".")[0]:
            continue
        plugin = next((plugin for plugin in _LOADED.values() if home in plugin.sources), None)
        if plugin is None:
            raise InputError(
                f"the module {name} was registered by {home}, which other processes do not load; "
                "pass its file with --plugins, or in Python to search_spaces.load_plugins([...])"
            )
        found[plugin.module] = plugin
    return tuple(found.values())


def loaded_plugins() -> tuple[Plugin, ...]:
    """Return what was loaded, in that order."""
    return tuple(_LOADED.values())


def _load(place: Place, given: str) -> Plugin:
    module, path = place.module, place.path
    if known := _LOADED.get(module):
        if path and str(path) != known.path and digest(path) != known.sources[module]:
            raise InputError(f"{given}: another plugin is loaded under the name {module!r}: {known.given}; rename one")
        return known
    if hides_another(place):
        raise InputError(f"{given}: another module is called {module.split('.')[0]!r}; rename it")
    _LOADED[module] = Plugin(module, str(path) if path else None, _import_checked(module, place, given))
    return _LOADED[module]


def _import_checked(module: str, place: Place, given: str) -> Sources:
    """Import a module and check what it registers; if anything is wrong, leave no trace of it."""
    imported, registered = set(sys.modules), set(names())
    try:
        sources = import_plugin(module, place.folders, given)
        for name in names():
            if _home(entry(name)) in sources:
                _check(entry(name))
    except BaseException:
        for name in set(names()) - registered:
            remove(name)
        for name in set(sys.modules) - imported:
            if name.split(".")[0] == module.split(".")[0]:
                del sys.modules[name]  # so that the file can be loaded again when it is mended
        raise
    return sources


def _home(found: ModuleEntry) -> str:
    """Return the Python module that a class comes from."""
    cls = found.cls if isinstance(found.cls, type) else type(found.cls)
    return cls.__module__


def _check(found: ModuleEntry) -> None:
    assert isinstance(found.cls, type)
    check_module(found, found.cls)


def _find(name: str) -> ModuleEntry | None:
    """Enter a class of a loaded plugin that is called `my_package.my_file:MyAttention`, and return its entry.

    Raises:
        InputError: the plugin is not loaded, there is no such class or it cannot be a module, or it is registered
            under a name of its own.
    """
    module, colon, cls_name = name.partition(":")
    if not colon:
        return None
    plugin = next((plugin for plugin in _LOADED.values() if f"{module}.".startswith(f"{plugin.module}.")), None)
    if plugin is None:
        raise InputError(f"the module {name!r} is not loaded; pass --plugins {module}")
    sources = _import_checked(module, plugin.place, name)
    _LOADED[plugin.module] = replace(plugin, sources=plugin.sources | sources)
    cls = getattr(sys.modules[module], cls_name, None)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise unknown(f"class in {module} (a torch.nn.Module)", cls_name, _classes_in(module))
    if other := next((each for each in names() if entry(each).cls is cls), None):
        raise InputError(f"{name} is registered as {other!r}; use that name, with --plugins {module}")
    found = enter_class(name, infer_kind(cls), "", cls)
    try:
        _check(found)
    except InputError:
        remove(name)
        raise
    return found


def _classes_in(module: str) -> list[str]:
    values = vars(sys.modules[module]).items()
    return [key for key, cls in values if isinstance(cls, type) and issubclass(cls, nn.Module)]


add_finder(_find)
