"""The tree of a network's modules as a file makes it again, and how code reaches a module in it."""

from dataclasses import dataclass

from torch import nn

from nas.export.code.errors import CannotWriteError
from nas.export.code.slices import Slice
from nas.export.code.values import Arg, Call, Items, Value


@dataclass(frozen=True, eq=False)
class ModuleTree:
    """Every path in a network: what is whole, what has a forward of its own, and what only holds others."""

    root: nn.Module
    whole: frozenset[str]
    """Paths of modules that are made by one call, with all that is in them."""
    slices: dict[str, Slice]
    """From a path to its slice, of those that are classes or chains."""
    lists: frozenset[str]
    """Paths of those that hold others and were sequences in the host."""

    def names(self, path: str) -> list[str]:
        """Return the names of a module's children."""
        return [name for name, _ in self.root.get_submodule(path).named_children()]

    def is_class(self, path: str) -> bool:
        """Return whether a path has a class of its own in the file."""
        return not path or (path in self.slices and not self.slices[path].is_chain)

    def is_list(self, path: str) -> bool:
        """Return whether a path that is no class is a list."""
        names = self.names(path)
        return bool(names) and names == [str(number) for number in range(len(names))]

    def is_sequence(self, path: str) -> bool:
        """Return whether a path that is no class is a sequence of modules, as it was in the host."""
        return path in self.lists or (path in self.slices and self.slices[path].is_chain)

    def holder(self, path: str, values: list[Value]) -> Value:
        """Return what holds the modules under a path.

        Raises:
            CannotWriteError: it has parameters of its own, which a list or dictionary of modules cannot have.
        """
        module = self.root.get_submodule(path)
        if own := [*module._parameters, *module._buffers]:
            raise CannotWriteError(f"{path} has {own[0]} of its own, but its code stands in parts of other modules")
        if not self.is_list(path):
            named = Items(tuple(values), tuple(self.names(path)))
            if self.is_sequence(path):
                return Call("nn.Sequential", (Arg(Call("OrderedDict", (Arg(named),))),))
            return Call("nn.ModuleDict", (Arg(named),))
        if self.is_sequence(path):
            return Call("nn.Sequential", tuple(map(Arg, values)))
        return Call("nn.ModuleList", (Arg(Items(tuple(values))),))

    def reach(self, path: str, start: str) -> str:
        """Return the code that reaches a module from the methods of the class at `start`."""
        rest = path.removeprefix(f"{start}." if start else "")
        text, at = "self", start
        for name in rest.split("."):
            if self.is_class(at) or at in self.whole or self._in_whole(at):
                text += f".{name}" if name.isidentifier() else f'.get_submodule("{name}")'
            elif self.is_list(at):
                text += f"[{name}]"
            elif self.is_sequence(at):
                text += f".{name}" if name.isidentifier() else f"[{self.names(at).index(name)}]"
            else:
                text += f'["{name}"]'
            at = f"{at}.{name}" if at else name
        return text

    def _in_whole(self, path: str) -> bool:
        return any(path.startswith(f"{whole}.") for whole in self.whole)
