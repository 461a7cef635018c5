"""Commands about architectures and spaces: what stands where, what it costs, how large a space is."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli.output import AsJson, describe_host, print_json, print_lines, print_table
from nas.experiment import load_experiment, load_space
from search_spaces import Architecture, SearchSpace, find_sites, measure_cost
from search_spaces.cost import host_cost, what_macs_leave_out
from search_spaces.shipped import ARCHITECTURES, SPACES, find_file, shipped_names
from search_spaces.space.host_space import HostSpace
from search_spaces.yaml_files import read_yaml
from trials import measure_latency
from trials.devices import pick_device

ArchitectureArgument = Annotated[
    str, typer.Argument(metavar="ARCHITECTURE", help="A YAML file, or the name of a shipped placement.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (show, cost, space):
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
    print_lines(f"architecture {loaded.id}", describe_host(loaded.host))
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
    print_lines(f"architecture {loaded.id}", describe_host(loaded.host))
    print_table("", ("", "this", "bare host", "more"), rows, ("this", "bare host", "more"))
    print_lines(
        "MACs: convolutions and matrix products of one image; pooling and element-wise work show in latency only."
    )
    if left_out := what_macs_leave_out(loaded.host):
        print_lines(left_out)
    if measured:
        ours = measured["architecture"]
        print_lines(
            f"latency: median of {ours['repeats']} forward passes of {ours['batch_size']} images on {ours['device']}, "
            f"{ours['threads']} threads; 10th to 90th percentile {ours['p10_ms']:.2f} to {ours['p90_ms']:.2f} ms"
        )


def _latencies(architecture: Architecture, device: str, batch_size: int) -> dict[str, Any]:
    where = pick_device(device)
    host = Architecture.of(architecture.host, {})
    shape = (architecture.host.channels, architecture.host.input, architecture.host.input)
    return {
        name: asdict(measure_latency(each.build(), shape, where, batch_size=batch_size))
        for name, each in (("architecture", architecture), ("host", host))
    }


def space(
    experiment: Annotated[str, typer.Argument(help="An experiment or a space: a YAML file or a shipped name.")],
    as_json: AsJson = False,
) -> None:
    """Show a space: its decisions, its size, and the range of costs it covers."""
    loaded = _space_of(experiment)
    if as_json:
        print_json(_space_data(loaded))
        return
    for part in loaded.variants:
        print_lines(describe_host(part.host))
    print_lines(f"{loaded.size:,} distinct architectures ({len(loaded.decisions)} decisions)")
    rows = [_part_row(part) for part in loaded.variants]
    numbers = ("parameters", "MACs", "least parameters", "least MACs", "decisions", "architectures")
    print_table("", ("host", *numbers, "limits"), rows, numbers)
    for reason in loaded.left_out:
        print_lines(f"left out, since nothing there is within the limits: {reason}")
    print_table("", ("decision", "hosts", "sites", "options", "modules"), _decision_rows(loaded), ("sites", "options"))


def _space_data(loaded: SearchSpace) -> dict[str, Any]:
    hosts = [
        {
            "label": part.label,
            "host": part.host.to_dict(),
            "size": part.size,
            "params": part.cost_of_host.params,
            "macs": part.cost_of_host.macs,
            **{f"least_{name}": part.least(name) for name in ("params", "macs")},
            "limits": str(part.bounds),
            "decisions": [decision.name for decision in part.decisions],
        }
        for part in loaded.variants
    ]
    decisions = [
        {"name": d.name, "sites": list(d.sites), "options": [str(o.spec or o.module) for o in d.options]}
        for d in loaded.decisions
    ]
    return {"hosts": hosts, "left_out": list(loaded.left_out), "size": loaded.size, "decisions": decisions}


def _part_row(part: HostSpace) -> tuple[object, ...]:
    host = part.cost_of_host
    costs = (host.params, host.macs, part.least("params"), part.least("macs"), len(part.decisions), part.size)
    return (part.label, *(f"{number:,}" for number in costs), str(part.bounds))


def _decision_rows(loaded: SearchSpace) -> list[tuple[object, ...]]:
    """Return each decision with the hosts that have it, or how many of several do."""
    rows: list[tuple[object, ...]] = []
    for number, decision in enumerate(loaded.decisions):
        having = [part.label for i, part in enumerate(loaded.variants) if loaded.exists(number, (i,))]
        hosts = "all" if len(having) == len(loaded.variants) else ", ".join(having)
        modules = ", ".join(dict.fromkeys(option.module for option in decision.options))
        rows.append((decision.name, hosts, len(decision.sites) or "", len(decision.options), modules))
    return rows


def _space_of(name: str) -> SearchSpace:
    if not name.endswith((".yaml", ".yml")):
        return load_space(name) if name in shipped_names(SPACES) else load_experiment(name).space
    data = read_yaml(Path(name)).data
    return load_space(name) if isinstance(data, dict) and "choices" in data else load_experiment(name).space
