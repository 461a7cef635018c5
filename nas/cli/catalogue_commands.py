"""Commands about what can be built: hosts, sites, modules, spaces, architectures, and the files' schemas."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nas.cli.output import AsJson, print_json, print_lines, print_table
from nas.experiment import EXPERIMENTS, ExperimentConfig, load_experiment, load_space
from search_spaces import Architecture, HostConfig, SearchSpace, find_sites, measure_cost
from search_spaces.architecture import ArchitectureConfig
from search_spaces.attention import entry, names
from search_spaces.cost import host_cost, typical_params
from search_spaces.hosts import host_entry, host_names
from search_spaces.shipped import ARCHITECTURES, SPACES, find_file, shipped_names
from search_spaces.space_config import SpaceConfig
from search_spaces.yaml_files import Document, read_yaml, validate
from trials.latency import measure_latency

ArchitectureArgument = Annotated[
    str, typer.Argument(metavar="ARCHITECTURE", help="A YAML file, or the name of a shipped placement.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (show, cost, space, sites, hosts, modules, schema):
        app.command()(command)


def load_architecture(name: str) -> Architecture:
    """Return the architecture of a path or a shipped name. Raises InputError."""
    return Architecture.load(find_file(name, "architecture", ARCHITECTURES))


def show(architecture: ArchitectureArgument, as_json: AsJson = False) -> None:
    """Show which modules stand at which sites."""
    loaded = load_architecture(architecture)
    if as_json:
        print_json({"id": loaded.id, "hash": loaded.hash, **loaded.to_dict()})
        return
    by_name = {site.name: site for site in find_sites(loaded.host)}
    rows = [
        (name, by_name[name].channels, "x".join(map(str, by_name[name].resolution)), str(spec), spec.init, spec.share)
        for name, specs in loaded.items
        for spec in specs
    ]
    print_lines(f"architecture {loaded.id}", _host_line(loaded.host))
    columns = ("site", "channels", "resolution", "module", "init", "share")
    print_table("", columns, rows, ("channels",)) if rows else print_lines("no attention: the bare host")


def cost(
    architecture: ArchitectureArgument,
    latency: Annotated[bool, typer.Option(help="Measure the latency on this machine.")] = False,
    device: Annotated[str, typer.Option(help="Where to measure: auto, cpu, cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass when measuring.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Count parameters and FLOPs (MACs), beside the bare host's; measure the latency on demand."""
    loaded = load_architecture(architecture)
    own, host = measure_cost(loaded), host_cost(loaded.host)
    measured = _latencies(loaded, device, batch_size) if latency else None
    if as_json:
        data: dict[str, Any] = {"id": loaded.id, "params": own.params, "macs": own.macs}
        data |= {"host_params": host.params, "host_macs": host.macs}
        print_json(data | ({"latency": measured} if measured else {}))
        return
    rows: list[tuple[object, ...]] = [
        ("parameters", f"{own.params:,}", f"{host.params:,}", f"{own.params / host.params - 1:+.2%}"),
        ("FLOPs (MACs)", f"{own.macs:,}", f"{host.macs:,}", f"{own.macs / host.macs - 1:+.2%}"),
    ]
    if measured:
        ours, theirs = measured["architecture"], measured["host"]
        ratio = ours["median_ms"] / theirs["median_ms"] - 1
        rows.append(("latency", f"{ours['median_ms']:.2f} ms", f"{theirs['median_ms']:.2f} ms", f"{ratio:+.1%}"))
    print_lines(f"architecture {loaded.id}", _host_line(loaded.host))
    print_table("", ("", "this", "bare host", "more"), rows, ("this", "bare host", "more"))
    print_lines("MACs: convolutions and matrix products of one image; pooling and element-wise work show in latency only.")
    if measured:
        ours = measured["architecture"]
        print_lines(
            f"latency: median of {ours['repeats']} forward passes of {ours['batch_size']} images on {ours['device']}, "
            f"{ours['threads']} threads; 10th to 90th percentile {ours['p10_ms']:.2f} to {ours['p90_ms']:.2f} ms"
        )


def _latencies(architecture: Architecture, device: str, batch_size: int) -> dict[str, Any]:
    from dataclasses import asdict

    host = Architecture.of(architecture.host, {})
    shape = (architecture.host.channels, architecture.host.input, architecture.host.input)
    return {
        name: asdict(measure_latency(each.build(), shape, device, batch_size=batch_size))
        for name, each in (("architecture", architecture), ("host", host))
    }


def _host_line(host: HostConfig) -> str:
    return (
        f"host {host.name}: {host.classes} classes, images {host.channels}x{host.input}x{host.input}, {host.stem} stem"
        + (", pretrained" if host.pretrained else "")
    )


def space(
    experiment: Annotated[str, typer.Argument(help="An experiment or a space: a YAML file or a shipped name.")],
    as_json: AsJson = False,
) -> None:
    """Show a space: its decisions, its size, and the range of costs it covers."""
    loaded = _space_of(experiment)
    host = host_cost(loaded.host)
    least = {name: loaded.least(name) for name in ("params", "macs")}
    if as_json:
        decisions = [
            {"name": d.name, "sites": list(d.sites), "options": [str(o.spec or o.module) for o in d.options]}
            for d in loaded.decisions
        ]
        print_json(
            {"host": loaded.host.model_dump(), "size": loaded.size, "limits": str(loaded.bounds), "decisions": decisions}
        )
        return
    print_lines(_host_line(loaded.host), f"{loaded.size:,} distinct architectures ({len(loaded.decisions)} decisions)")
    print_lines(f"limits: {loaded.bounds}")
    print_lines(f"host: {host.params:,} parameters, {host.macs:,} MACs; least: {least['params']:,}, {least['macs']:,}")
    rows = [
        (d.name, len(d.sites), len(d.options), ", ".join(dict.fromkeys(o.module for o in d.options)))
        for d in loaded.decisions
    ]
    print_table("", ("decision", "sites", "options", "modules"), rows, ("sites", "options"))


def _space_of(name: str) -> SearchSpace:
    if not name.endswith((".yaml", ".yml")):
        return load_space(name) if name in shipped_names(SPACES) else load_experiment(name).space
    data = read_yaml(Path(name)).data
    return load_space(name) if isinstance(data, dict) and "choices" in data else load_experiment(name).space


def sites(
    host: Annotated[str, typer.Argument(help="A host's name, see `nas hosts`.")],
    input: Annotated[int | None, typer.Option(help="Height and width of the images.")] = None,  # noqa: A002
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
    print_lines(_host_line(config), f"{total.params:,} parameters, {total.macs:,} MACs", f"{len(found)} sites: {counts}")
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
    types = {"experiment": ExperimentConfig, "space": SpaceConfig, "architecture": ArchitectureConfig}
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **types[what].model_json_schema()})
