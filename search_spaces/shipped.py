"""Files by name: those shipped with the packages have bare names, a user's own have paths that end in `.yaml`."""

from importlib.resources import files
from pathlib import Path

from search_spaces.errors import unknown

ARCHITECTURES = ("search_spaces", "library/papers")
SPACES = ("search_spaces", "library/spaces")

Shelf = tuple[str, str]
"""A package and a folder in it."""


def shipped_names(shelf: Shelf) -> list[str]:
    """Return the bare names of the files on a shelf."""
    package, folder = shelf
    names = (item.name for item in files(package).joinpath(folder).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def find_file(name: str, what: str, shelf: Shelf, beside: Path | None = None) -> Path:
    """Return the path of a shipped name, or of a user's path (relative to `beside`).

    Raises:
        InputError: a bare name that is not shipped; the message names those that are.
    """
    if name.endswith((".yaml", ".yml")):
        return (beside or Path()) / name
    known = shipped_names(shelf)
    if name not in known:
        raise unknown(f"{what} (a path must end in .yaml; shipped ones have bare names)", name, known)
    package, folder = shelf
    return Path(str(files(package).joinpath(folder, f"{name}.yaml")))
