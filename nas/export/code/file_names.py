"""The names in a file that is written, each of one thing."""

from collections.abc import Hashable

_TAKEN = ("torch", "nn", "F", "Tensor", "Any", "math", "json", "struct", "Path", "dataclass", "Enum", "Network")


class FileNames:
    """Gives out the names of a file's definitions, and keeps its imports."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, str] = {}
        self._taken = set(_TAKEN)
        self.imports: set[str] = set()
        """Lines of imports beside those that every file has."""

    def of(self, key: Hashable, wanted: str) -> str:
        """Return the name of a thing, which is `wanted` unless something else has it."""
        if key not in self._by_key:
            name, number = wanted, 2
            while name in self._taken:
                name, number = f"{wanted}{number}", number + 1
            self._taken.add(name)
            self._by_key[key] = name
        return self._by_key[key]

    def known(self, key: Hashable) -> str | None:
        """Return the name that was given to a thing before, if it was."""
        return self._by_key.get(key)

    def reserve(self, name: str) -> None:
        """Let nothing else have a name."""
        self._taken.add(name)
