"""Classes of modules: one for all modules of the same code, with arguments for what differs between them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.export.code.file_names import FileNames
from nas.export.code.forward import Forward
from nas.export.code.values import (
    Arg,
    Call,
    Literal,
    Name,
    Value,
    literals,
    render,
    replace_literals,
    signature,
    slot_names,
)


@dataclass(frozen=True)
class Instance:
    """A module that is to have a class: what is in it and what it computes."""

    path: str
    kind: str
    """What its class is called in the host."""
    children: tuple[tuple[str, Value], ...]
    """Its attributes, parameters of its own among them."""
    forward: Forward

    @property
    def key(self) -> str:
        """What two instances of one class have in common."""
        skeleton = [(name, replace_literals(value, lambda _: Literal("?"))) for name, value in self.children]
        return repr((self.kind, self.forward, skeleton))

    @property
    def constants(self) -> list[Any]:
        """What they may differ in."""
        return [each for _, value in self.children for each in literals(value)]


def write_classes(instances: Sequence[Instance], names: FileNames) -> tuple[list[str], dict[str, Call]]:
    """Return the texts of the classes of some instances, and from each instance's path the call that makes it."""
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.key, []).append(instance)
    texts: list[str] = []
    calls: dict[str, Call] = {}
    plain: dict[str, set[str]] = {}
    for group in sorted(groups.values(), key=lambda group: len(group[0].children)):
        first = group[0]
        children = {name for name, _ in first.children}
        more = children - plain.setdefault(first.kind, children)
        parameters = _Parameters(group)
        # By its text: what is constant in one group may have another value in a group that is written later.
        name = names.of(_class_text("", group, parameters), _class_name(first, sorted(more)))
        texts.append(_class_text(name, group, parameters))
        calls |= {each.path: Call(name, parameters.arguments(number)) for number, each in enumerate(group)}
    return texts, calls


def _class_name(instance: Instance, more: Sequence[str]) -> str:
    """Return what to call a class: as in the host, with what it has more than the first of that name."""
    placed = [name.partition(":")[0] for name in instance.forward.parameters if name.endswith(": nn.Module")]
    words = [name.removesuffix("_attention") for name in placed] + [
        name for name in more if not name.isdigit() and len(more) < 4
    ]
    strides = (each for _, value in instance.children for each, slot in _slots(value) if slot == "stride")
    if any(stride not in (1, None) for stride in strides) and "downsample" not in words:
        words.insert(0, "down")
    return instance.kind.strip("_") + "".join(_camel(word) for word in words[:3])


def _slots(value: Value) -> list[tuple[Any, str]]:
    return list(zip(literals(value), slot_names(value), strict=True))


def _camel(word: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"\W|_", word))


class _Parameters:
    """What differs between the instances of a class, each under one name however often it is used."""

    def __init__(self, group: Sequence[Instance]) -> None:
        columns = list(zip(*(_typed(instance.constants) for instance in group), strict=True))
        slots = [(child, slot) for child, value in group[0].children for slot in slot_names(value)]
        self.columns: dict[tuple[Any, ...], str] = {}
        self._values = list(zip(*(instance.constants for instance in group), strict=True))
        self._of_slot: list[str | None] = []
        self._shown: dict[str, tuple[Any, ...]] = {}
        for column, values, (child, slot) in zip(columns, self._values, slots, strict=True):
            if len(set(column)) == 1:
                self._of_slot.append(None)
                continue
            if column not in self.columns:
                self.columns[column] = self._name(child, slot)
                self._shown[self.columns[column]] = values
            self._of_slot.append(self.columns[column])

    def _name(self, child: str, slot: str) -> str:
        child = re.sub(r"\W", "_", child)
        wanted = slot or child
        if wanted in self.columns.values() or wanted == "self":
            wanted = f"{child}_{slot}" if slot else child
        wanted = wanted if wanted.isidentifier() else f"value_{wanted}"
        name, number = wanted, 2
        while name in self.columns.values():
            name, number = f"{wanted}{number}", number + 1
        return name

    def declared(self) -> list[str]:
        """Return the parameters as a signature has them."""
        return [f"{name}: {_annotation(values)}" for name, values in self._shown.items()]

    def arguments(self, number: int) -> tuple[Arg, ...]:
        """Return what one of the instances is given."""
        return tuple(Arg(Literal(values[number]), name) for name, values in self._shown.items())

    def filled(self, children: Sequence[tuple[str, Value]]) -> list[tuple[str, Value]]:
        """Return the attributes with the parameters in the place of what differs."""
        slots = iter(self._of_slot)

        def make(value: Any) -> Value:
            name = next(slots)
            return Literal(value) if name is None else Name(name)

        return [(name, replace_literals(value, make)) for name, value in children]


def _typed(values: Sequence[Any]) -> list[Any]:
    """Return values so that 1, 1.0 and True are three."""
    return [(type(value).__name__, repr(value)) for value in values]


def _annotation(values: Sequence[Any]) -> str:
    kinds = dict.fromkeys("None" if value is None else type(value).__name__ for value in values)
    tuples = {"tuple": "tuple[int, ...]", "list": "list[int]"}
    return " | ".join(tuples.get(kind, kind) for kind in kinds)


def _class_text(name: str, group: Sequence[Instance], parameters: _Parameters) -> str:
    first = group[0]
    lines = [f"class {name}(nn.Module):", f'    """{_docstring(group)}"""', ""]
    lines += init_lines(parameters.declared(), parameters.filled(first.children))
    lines += ["", signature("forward", ["self", *first.forward.parameters], first.forward.returns, 4)]
    lines += [f"        {line}" for line in first.forward.lines]
    return "\n".join(lines)


def init_lines(parameters: Sequence[str], children: Sequence[tuple[str, Value]]) -> list[str]:
    """Return the lines of a constructor."""
    lines = [signature("__init__", ["self", *parameters], "None", 4), "        super().__init__()"]
    for name, value in children:
        if name.isidentifier():
            lines.append(f"        self.{name} = {render(value, 8, 8 + len(f'self.{name} = '))}")
        else:
            added = Call("self.add_module", (Arg(Literal(name)), Arg(value)))
            lines.append(f"        {render(added, 8, 8)}")
    return lines


def _docstring(group: Sequence[Instance]) -> str:
    shown = [f"`{each.path}`" for each in group[:4]]
    more = len(group) - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"{group[0].kind} of the host: {listed}."
