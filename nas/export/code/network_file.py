"""The file of a network: its classes, how its weights are loaded, and what torchvision and timm expect of a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from torch import fx, nn

from nas.export.code.errors import CannotWriteError
from nas.export.code.network import NetworkWriter
from nas.export.code.network_body import classifier_body, plain_body, with_outputs
from nas.export.code.outline import Outline, outline
from nas.export.code.placed_modules import placed_calls
from nas.export.code.values import Items, Literal, Value, literal, render
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
    stages = () if parts is None else parts.stages
    _keep_from_overwriting(network, [stage.node for stage in stages])
    return NetworkFile(
        _render(architecture, facts, network, parts),
        builder_name(architecture),
        tuple(stage.channels for stage in stages),
        tuple(stage.stride for stage in stages),
        parts is not None,
    )


def _render(architecture: Architecture, facts: Facts, network: fx.GraphModule, parts: Outline | None) -> str:
    """Return the text of the file; without `parts` it is no classifier's."""
    host, builder = architecture.host, builder_name(architecture)
    writer = NetworkWriter({path: placed.call for path, placed in placed_calls(architecture).items()})
    if parts is None:
        written = writer.write(network)
        body = plain_body(written, host.classes)
    else:
        wanted = [*(stage.node for stage in parts.stages), parts.features]
        written = writer.write(network, wanted, [parts.classifier], {str(parts.classifier.target): with_outputs})
        body = classifier_body(written, parts, host.classes, network)
    definitions = [*writer.sources.texts.values(), *written.classes]
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    environment.filters["literal"] = literal
    template = files("nas").joinpath("templates", "export_network.py.jinja").read_text()
    return environment.from_string(template).render(
        {
            "facts": facts,
            "host": host,
            "builder": builder,
            "imports": _imports(
                _ALWAYS | writer.names.imports | _needed_by("".join([*definitions, body]), parts is not None)
            ),
            "weights_class": f"{_camel(builder)}Weights",
            "definitions": definitions,
            "body": body,
            "is_classifier": parts is not None,
            "first_conv": next((name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)), ""),
            "classifier": "" if parts is None else str(parts.classifier.target),
            "class_names": render(_list(facts.classes), 0, len("CLASSES = ")),
            "meta": render(_dictionary(facts.meta), 8, 8 + len("meta="), 1),
        }
    )


def _needed_by(code: str, is_classifier: bool) -> set[str]:
    """Return the imports that only some files need."""
    needed = {
        "import torch.nn.functional as F": re.search(r"\bF\.", code),
        "from collections import OrderedDict": "OrderedDict(" in code,
        "import sys": is_classifier,  # for what registers it with timm
    }
    return {line for line, is_needed in needed.items() if is_needed}


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
