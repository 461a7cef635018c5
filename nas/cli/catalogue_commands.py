"""Commands about what there is: attention modules, and the files' schemas."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from nas.cli.output import AsJson, print_json, print_lines
from nas.experiment import ExperimentConfig
from search_spaces.architecture import ArchitectureConfig
from search_spaces.attention import entry, names
from search_spaces.attention.timm_layers import timm_names, unavailable_timm_layers
from search_spaces.cost import typical_params
from search_spaces.errors import InputError
from search_spaces.space.space_config import SpaceConfig
from trials.retrain.recipes import recipe_schema

_FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "experiment": ExperimentConfig.model_json_schema,
    "space": SpaceConfig.model_json_schema,
    "architecture": ArchitectureConfig.model_json_schema,
    "recipe": recipe_schema,
}

_TIMM = "timm"
"""What `nas modules` calls all of timm's layers."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (modules, schema):
        app.command()(command)


def modules(
    name: Annotated[
        str | None, typer.Argument(help="One module with its whole definition, or `timm` for all of timm's layers.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the attention modules: paper, places, knobs with their defaults, parameters at 64 and 256 channels."""
    unavailable = unavailable_timm_layers() if name == _TIMM else {}
    listed = [_describe_module(each) for each in (timm_names() if name == _TIMM else [name] if name else names())]
    if as_json:
        print_json(listed + [{"name": each, "unavailable": reason} for each, reason in unavailable.items()])
        return
    for module in listed:
        _print_module(module, whole=name == module["name"])
    for reason in unavailable.values():
        print_lines("", f"unavailable: {reason}")
    print_lines("", "Every module also takes `init: paper | identity` and `share: <group>`.")
    if name is None:
        print_lines("`nas modules NAME` prints a module's definition, `nas modules timm` lists timm's layers.")


def _print_module(module: dict[str, Any], whole: bool) -> None:
    print_lines("", f"{module['name']} ({module['kind']}): {module['summary']}")
    if whole and module["definition"]:
        print_lines("", *module["definition"].split("\n"), "")
    paper = f"paper: {module['paper']}; " if module["paper"] else ""
    print_lines(f"  {paper}places: {', '.join(module['places'])}")
    sizes = [f"{size:,} at {width} channels" for width, size in module["params"].items() if size is not None]
    print_lines(f"  parameters: {', '.join(sizes)}" if sizes else "  parameters: depend on the place")
    for knob in module["knobs"]:
        line = f"  {knob['name']}: {knob['type']} = {json.dumps(knob['default'])}   {knob['description']}"
        print_lines(line.rstrip())
    print_lines(f"  init: identity is {module['identity']}")
    for knob, reason in module["no_knobs"].items() if whole else ():
        print_lines(f"  not {knob}: {reason}")


def _describe_module(name: str) -> dict[str, Any]:
    found = entry(name)
    knobs = [
        {"name": knob.name, "type": knob.type_text, "default": knob.default, "description": knob.description}
        for knob in found.knobs.values()
    ]
    return {
        "name": name, "kind": found.kind, "summary": found.summary, "paper": found.paper,
        "definition": found.definition, "places": list(found.places),
        "params": {width: _params(name, width) for width in (64, 256)}, "identity": found.identity, "knobs": knobs,
        "no_knobs": dict(found.refused),
    }  # fmt: skip


def _params(name: str, channels: int) -> int | None:
    """Return a module's parameters at a typical site of a width, or None if it does not fit one."""
    try:
        return typical_params(name, channels)
    except InputError:
        return None


def schema(
    what: Annotated[Literal["experiment", "space", "architecture", "recipe"], typer.Argument()] = "experiment",
) -> None:
    """Print the JSON Schema of a file, for editors that complete and check YAML."""
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **_FILES[what]()})
