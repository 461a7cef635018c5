"""A study and a user's own modules: which plugins it needs, and that they are what they were."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from search_spaces import SearchSpace
from search_spaces.errors import InputError
from search_spaces.plugins import Plugin, plugins_of

PLUGINS = "plugins"
"""The study's attribute that holds them."""


def plugins_of_space(space: SearchSpace) -> list[Plugin]:
    """Return the plugins that the modules of a space come from. Raises InputError as `plugins_of` does."""
    specs = (option.spec for decision in space.decisions for option in decision.options)
    return list(plugins_of(dict.fromkeys(spec.module for spec in specs if spec)))


def require_plugins(study: str, attributes: Mapping[str, Any]) -> None:
    """Raise InputError if a plugin that a study was searched with is not loaded; the message says what to pass."""
    missing = [plugin for plugin in _recorded(attributes) if not plugin.is_loaded]
    if missing:
        options = " ".join(f"--plugins {shlex.quote(plugin.given)}" for plugin in missing)
        raise InputError(f"{study} was searched with modules of your own; add {options}{_where_they_were(missing)}")


def refuse_changed_plugins(study: str, attributes: Mapping[str, Any]) -> None:
    """Raise InputError if a plugin is not loaded, or has another source than when the study was made."""
    require_plugins(study, attributes)
    changed = [change for plugin in _recorded(attributes) for change in plugin.changes()]
    if changed:
        listed = "\n  ".join(changed)
        raise InputError(
            f"{study} was searched with another source of your own modules; changed since:\n  {listed}\n"
            "Undo the change, or start another study with --study DIR|URL"
        )


def _recorded(attributes: Mapping[str, Any]) -> list[Plugin]:
    return [Plugin.from_dict(data) for data in attributes.get(PLUGINS, ())]


def _where_they_were(missing: Iterable[Plugin]) -> str:
    gone = [plugin.path for plugin in missing if plugin.path and not Path(plugin.path).is_file()]
    return f" (no longer there: {', '.join(gone)})" if gone else ""
