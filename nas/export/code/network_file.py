"""The file of a network: its classes, how its weights are loaded, and what torchvision and timm expect of a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from torch import fx, nn

from nas.export.code.classes import init_lines
from nas.export.code.errors import CannotWriteError
from nas.export.code.forward import reads
from nas.export.code.network import NetworkWriter, Written
from nas.export.code.outline import Outline, outline
from nas.export.code.placed_modules import placed_calls
from nas.export.code.slices import Slice
from nas.export.code.values import Arg, Call, Items, Literal, Name, Value, literal, render
from search_spaces import Architecture
from search_spaces.build import build_on_meta, lay_out


@dataclass(frozen=True)
class NetworkFile:
    """A file that was written."""

    text: str
    builder: str
    """The name of the function that makes the network."""
    channels: tuple[int, ...]
    """Of the maps that `forward_stages` returns; empty where there is none."""
    strides: tuple[int, ...]
    is_classifier: bool
    """Whether it has the parts that timm's models have."""


@dataclass(frozen=True)
class Facts:
    """What the file tells of its weights."""

    description: str
    """Lines of the file's docstring."""
    weights: str
    """The name of the file of weights that lies beside it."""
    mean: Sequence[float]
    std: Sequence[float]
    classes: Sequence[str]
    meta: dict[str, Any]
    """Numbers and words, as `Weights.meta` has them."""


def builder_name(architecture: Architecture) -> str:
    """Return what the function that makes a network is called: the host and the architecture's id."""
    return re.sub(r"\W", "_", f"{architecture.host.name}_{architecture.id}").lower()


def write_network(architecture: Architecture, facts: Facts) -> NetworkFile:
    """Return the file of an architecture.

    Raises:
        CannotWriteError: it is a detector, or something in it needs more than torch.
    """
    host = architecture.host
    if host.traced_part:
        raise CannotWriteError(
            f"a {host.head} is torchvision's detector over this backbone: its anchors, proposals and losses are "
            "torchvision's, not torch's; use model.py"
        )
    network = build_on_meta(host, architecture.items)
    assert isinstance(network, fx.GraphModule)
    parts = outline(network, host, lay_out(host, architecture.items))
    stages = [] if parts is None else [stage.node for stage in parts.stages]
    _keep_from_overwriting(network, stages)
    writer = NetworkWriter({path: placed.call for path, placed in placed_calls(architecture).items()})
    if parts is None:
        written = writer.write(network)
        body = _plain_body(written, host.classes)
    else:
        change = {str(parts.classifier.target): _with_outputs}
        written = writer.write(network, [*stages, parts.features], [parts.classifier], change)
        body = _body(written, parts, host.classes, network)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    environment.filters["literal"] = literal
    template = files("nas").joinpath("templates", "export_network.py.jinja").read_text()
    definitions = [*writer.sources.texts.values(), *written.classes]
    code = "".join([*definitions, body])
    functional = {"import torch.nn.functional as F"} if re.search(r"\bF\.", code) else set()
    if "OrderedDict(" in code:
        functional.add("from collections import OrderedDict")
    if parts is not None:
        functional.add("import sys")  # for what registers it with timm
    text = environment.from_string(template).render(
        {
            "facts": facts,
            "host": host,
            "builder": builder_name(architecture),
            "imports": _imports(_ALWAYS | writer.names.imports | functional),
            "weights_class": f"{_camel(builder_name(architecture))}Weights",
            "definitions": definitions,
            "body": body,
            "is_classifier": parts is not None,
            "first_conv": next((name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)), ""),
            "classifier": "" if parts is None else str(parts.classifier.target),
            "class_names": render(_list(facts.classes), 0, len("CLASSES = ")),
            "meta": render(_dictionary(facts.meta), 8, 8 + len("meta="), 1),
        }
    )
    shown = () if parts is None else parts.stages
    return NetworkFile(
        text,
        builder_name(architecture),
        tuple(stage.channels for stage in shown),
        tuple(stage.stride for stage in shown),
        parts is not None,
    )


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _list(values: Sequence[str]) -> Value:
    return Items(tuple(map(Literal, values)))


def _dictionary(values: dict[str, Any]) -> Value:
    return Items(tuple(map(Literal, values.values())), tuple(values))


_ALWAYS = {
    "import json",
    "import struct",
    "from collections.abc import Callable",
    "from dataclasses import dataclass",
    "from enum import Enum",
    "from pathlib import Path",
    "from typing import Any",
    "import torch",
    "from torch import Tensor",
    "from torch import nn",
}


def _imports(lines: set[str]) -> str:
    """Return the imports of a file, sorted: those of the standard library, then torch's."""
    straight = {line for line in lines if line.startswith("import ")}
    names: dict[str, set[str]] = {}
    for line in lines - straight:
        module, _, name = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, set()).add(name)
    every = [
        *sorted(straight),
        *(f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)),
    ]
    of_torch = [line.split()[1].partition(".")[0] == "torch" for line in every]
    parts = (
        [line for line, is_torch in zip(every, of_torch, strict=True) if is_torch == which] for which in (False, True)
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _keep_from_overwriting(network: fx.GraphModule, stages: Sequence[fx.Node]) -> None:
    """Let no module overwrite a map that the network also returns."""
    for stage in stages:
        for user in stage.users:
            module = network.get_submodule(str(user.target)) if user.op == "call_module" else None
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[union-attr]  # None has no `inplace`


def _plain_body(written: Written, classes: int) -> str:
    """Return the class of a network that is no classifier of images: a constructor and a forward."""
    forward = written.writer.write()
    lines = [
        *init_lines((), written.children),
        f"        self.num_classes = {classes}",
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Return the logits of each pixel (N, K, H, W) of normalised images (N, C, H, W)."""'
        if classes
        else "",
        *(f"        {line}" for line in forward.lines),
    ]
    return "\n".join(lines)


def _body(written: Written, parts: Outline, classes: int, network: fx.GraphModule) -> str:
    """Return the class of a classifier: its constructor, and its forward in the parts that timm's models have."""
    path = str(parts.classifier.target)
    access = written.tree.reach(path, "")
    given = network.get_submodule(path)
    features = given.in_features if isinstance(given, nn.Linear) else given.in_channels
    lines = [
        *init_lines([f"num_classes: int = {classes}"], written.children),
        "        self.num_classes = num_classes",
        f"        self.num_features = {features}",
        "",
        *_forward_lines(written, parts),
        "",
        "    def get_classifier(self) -> nn.Module:",
        '        """Return the layer that gives the logits."""',
        f"        return {access}",
        "",
        "    def reset_classifier(self, num_classes: int) -> None:",
        '        """Put an untrained layer for other classes in its place; 0: `forward` returns what it would read."""',
        "        if num_classes:",
        f"            {access} = {render(written.calls[path], 12, 15 + len(access))}",
        "        else:",
        f"            {access} = nn.Identity()",
        "        self.num_classes = num_classes",
    ]
    return "\n".join(lines)


def _with_outputs(layer: Value) -> Value:
    """Return a layer's call with `num_classes` for the number of its outputs."""
    assert isinstance(layer, Call)
    first, _, *rest = layer.args
    return Call(layer.function, (first, Arg(Name("num_classes")), *rest))


def _forward_lines(written: Written, parts: Outline) -> list[str]:
    writer, items = written.writer, written.piece.items
    stages = [stage.node for stage in parts.stages]
    wanted = [parts.features, *stages]
    needed = _needed(items, wanted)
    body = [item for item in items if id(item) in needed]
    head = [item for item in items if id(item) not in needed]
    at = next(number for number, item in enumerate(head) if item is parts.classifier)
    state = writer.start()
    lines, (features, *maps) = writer.statements(body, state, wanted)
    shown = [render(each, 0, -10_000) for each in [features, *maps]]
    written_lines = [
        "    def forward_stages(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:",
        '        """Return the last feature map, and the maps at the ends of the stages, the finest first."""',
        *(f"        {line}" for line in lines),
        f"        return {shown[0]}, [{', '.join(shown[1:])}]",
        "",
        "    def forward_features(self, x: Tensor) -> Tensor:",
        '        """Return the last feature map, (N, C, H, W)."""',
        "        return self.forward_stages(x)[0]",
        "",
    ]
    state = writer.start()
    state.values = {parts.features: Name("x")}
    read = parts.classifier.all_input_nodes[0]
    before, (given,) = writer.statements(head[:at], state, [read])
    if (text := render(given, 8, 12)) != "x":
        before.append(f"x = {text}")
    state.values = {read: Name("x")}
    after, (answer,) = writer.statements(head[at:], state, written.piece.outputs)
    written_lines += [
        "    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:",
        '        """Return the logits (N, K) of a feature map; with `pre_logits` what the classifier reads."""',
        *(f"        {line}" for line in before),
        "        if pre_logits:",
        "            return x",
        *(f"        {line}" for line in after),
        f"        return {render(answer, 8, 15)}",
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Return the logits (N, K) of normalised images (N, C, H, W)."""',
        "        return self.forward_head(self.forward_features(x))",
    ]
    return written_lines


def _needed(items: Sequence["fx.Node | Slice"], wanted: Sequence[fx.Node]) -> set[int]:
    """Return the items, by their `id`, that compute some nodes."""
    makes = {node: item for item in items for node in (item.outputs if isinstance(item, Slice) else [item])}
    found: set[int] = set()
    waiting = [makes[node] for node in wanted if node in makes]
    while waiting:
        item = waiting.pop()
        if id(item) not in found:
            found.add(id(item))
            waiting += [makes[node] for node in reads(item) if node in makes]
    return found
