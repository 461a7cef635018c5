"""Commands about what there is: hosts, their sites, attention modules, and the files' schemas."""

import json
from collections import Counter
from typing import Annotated, Any, Literal

import typer

from nas.cli.output import AsJson, describe_host, print_json, print_lines, print_table
from nas.experiment import ExperimentConfig
from search_spaces import HostConfig, find_sites
from search_spaces.architecture import ArchitectureConfig
from search_spaces.attention import entry, names
from search_spaces.config import Config
from search_spaces.cost import host_cost, typical_params
from search_spaces.hosts import host_entry, host_names
from search_spaces.space_config import SpaceConfig
from search_spaces.yaml_files import Document, validate

_FILES: dict[str, type[Config]] = {
    "experiment": ExperimentConfig,
    "space": SpaceConfig,
    "architecture": ArchitectureConfig,
}


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (sites, hosts, modules, schema):
        app.command()(command)


def sites(
    host: Annotated[str, typer.Argument(help="A host's name, see `nas hosts`.")],
    input: Annotated[int | None, typer.Option(help="Height and width of the images.")] = None,
    channels: Annotated[int, typer.Option(help="Channels of the images.")] = 3,
    stem: Annotated[str | None, typer.Option(help="imagenet or cifar.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sites of a host with their channels and resolution."""
    given = {"name": host_entry(host).name, "input": input, "channels": channels, "stem": stem}
    document = Document({key: value for key, value in given.items() if value is not None}, "host")
    config = validate(HostConfig, document)
    found = find_sites(config)
    total = host_cost(config)
    if as_json:
        columns = ("name", "place", "block", "stage", "channels", "resolution")
        listed = [{column: getattr(site, column) for column in columns} for site in found]
        print_json({"host": config.model_dump(), "params": total.params, "macs": total.macs, "sites": listed})
        return
    counts = ", ".join(f"{n} {place}" for place, n in Counter(site.place_kind for site in found).items())
    print_lines(
        describe_host(config), f"{total.params:,} parameters, {total.macs:,} MACs", f"{len(found)} sites: {counts}"
    )
    rows = [
        (site.name, site.channels, "x".join(map(str, site.resolution)), site.stage, _bridged(site.sources))
        for site in found
    ]
    print_table("", ("site", "channels", "resolution", "stage", "a bridge reads"), rows, ("channels",))


def _bridged(sources: tuple[Any, ...]) -> str:
    return " + ".join(f"{source.channels}" for source in sources)


def hosts(as_json: AsJson = False) -> None:
    """List the hosts."""
    entries = [host_entry(name) for name in host_names()]
    if as_json:
        columns = ("name", "paper", "classes", "input", "stems", "has_weights")
        print_json([{column: getattr(e, column) for column in columns} for e in entries])
        return
    rows = [(e.name, e.classes, e.input, ", ".join(e.stems), "yes" if e.has_weights else "", e.paper) for e in entries]
    columns = ("host", "classes", "input", "stems", "pretrained", "paper")
    print_table("", columns, rows, ("classes", "input"))
    print_lines("`nas sites HOST` lists where attention may go.")


def modules(as_json: AsJson = False) -> None:
    """List the attention modules: paper, places, knobs with their defaults, parameters at 64 and 256 channels."""
    listed = [_describe_module(name) for name in names()]
    if as_json:
        print_json(listed)
        return
    for module in listed:
        print_lines("", f"{module['name']} ({module['kind']}): {module['summary']}")
        print_lines(f"  paper: {module['paper']}; places: {', '.join(module['places'])}")
        sizes = [f"{size:,} at {width} channels" for width, size in module["params"].items()]
        print_lines(f"  parameters: {', '.join(sizes)}")
        for knob in module["knobs"]:
            print_lines(f"  {knob['name']}: {knob['type']} = {json.dumps(knob['default'])}   {knob['description']}")
    print_lines("", "Every module also takes `init: paper | identity` and `share: <group>`.")


def _describe_module(name: str) -> dict[str, Any]:
    found = entry(name)
    knobs = [
        {"name": knob.name, "type": knob.type_text, "default": knob.default, "description": knob.description}
        for knob in found.knobs.values()
    ]
    params = {width: typical_params(name, width) for width in (64, 256)}
    return {
        "name": name, "kind": found.kind, "summary": found.summary, "paper": found.paper,
        "places": list(found.places), "params": params, "knobs": knobs,
    }  # fmt: skip


def schema(
    what: Annotated[Literal["experiment", "space", "architecture"], typer.Argument()] = "experiment",
) -> None:
    """Print the JSON Schema of a file, for editors that complete and check YAML."""
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **_FILES[what].model_json_schema()})
