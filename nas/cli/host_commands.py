"""Commands about hosts: which there are, and where attention may go in one."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.cli import host_options as options
from nas.cli.host_table import Listed, print_hosts
from nas.cli.output import AsJson, describe_host, print_json, print_lines
from nas.cli.site_blocks import kinds_at, sites_at
from nas.cli.site_tree import print_sites
from nas.host_figures import FiguresCache, HostFigures, Measured, measure_hosts
from search_spaces import find_sites
from search_spaces.cost import host_cost, what_macs_leave_out
from search_spaces.errors import unknown
from search_spaces.hosts import SHORTHANDS, HostConfig, HostEntry, host_entry, host_names, timm_host_names
from search_spaces.hosts.timm_hosts import PREFIX as TIMM
from search_spaces.sites.site_type import Site, Source


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (sites, hosts):
        app.command()(command)


def hosts(
    pattern: Annotated[
        str | None, typer.Argument(help="A glob or a part of a name; `timm/...` for timm's. All but timm's if missing.")
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Print the names only, one a line.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the hosts with their parameters, MACs and numbers of sites; those are measured once and kept."""
    found = _matching(pattern)
    if names:
        print_json(found) if as_json else print_lines(*found)
        return
    measured = _measured(found)
    listed = [Listed(_entry(name), measured[name]) for name in found]
    if as_json:
        print_json([_as_data(each) for each in listed])
        return
    print_hosts(listed)
    print_lines("`nas sites HOST` draws where attention may go.")
    if pattern is None:
        print_lines("timm's hosts are listed by a part of their names or a glob: `nas hosts 'timm/*resnet*'`.")


def _matching(pattern: str | None) -> list[str]:
    """Return the hosts that a glob, or a part of a name, stands for. Raises InputError if there is none."""
    if pattern is None:
        return [*host_names(), *SHORTHANDS]
    known = list(timm_host_names()) if f"{pattern}/".startswith(TIMM) else [*host_names(), *SHORTHANDS]
    if any(sign in pattern for sign in "*?["):
        found = [name for name in known if fnmatchcase(name, pattern)]
    else:
        found = [name for name in known if pattern in name]
    if not found:
        raise unknown("host", pattern, known)
    return found


def _entry(name: str) -> HostEntry:
    """Return what is known of a host; torchvision's names of detectors stand for a host with neck and head."""
    if name not in SHORTHANDS:
        return host_entry(name)
    meant = HostConfig(name=name)
    paper = f"torchvision's detectors: {meant.name} with `neck: {meant.neck}` and a head, as any host may have"
    return replace(host_entry(meant.name), name=name, paper=paper, classes=meant.classes, input=meant.input)


def _measured(names: Sequence[str]) -> dict[str, Measured]:
    """Return the figures of hosts, from earlier runs or measured now; an interruption keeps those that are done."""
    cache = FiguresCache()
    known = {name: figures for name in names if (figures := cache.get(name))}
    missing = [name for name in names if name not in known]
    try:
        with _progress(len(missing)) as advance:
            for name, figures in measure_hosts(missing):
                cache.put(name, figures)
                known[name] = figures
                advance(name)
    except KeyboardInterrupt:
        num_done = sum(name in known for name in missing)
        print_lines(f"interrupted; {num_done} of {len(missing)} are measured and kept", errors=True)
        raise
    return known


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Say on standard error how the measuring stands: a bar on a terminal, else a line at the start."""
    console = Console(stderr=True, highlight=False)
    if not total or not console.is_terminal:
        if total:
            print(f"measuring {total} host{'s' if total > 1 else ''}, once for these versions", file=sys.stderr)
        yield lambda _host: None
        return
    columns = (TextColumn("measuring hosts, once"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[host]}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=total, host="")
        yield lambda name: bar.update(task, advance=1, host=name)


def _as_data(listed: Listed) -> dict[str, Any]:
    columns = ("name", "paper", "classes", "input", "stems", "has_weights", "widths")
    data = {column: getattr(listed.entry, column) for column in columns}
    measured = listed.measured
    if isinstance(measured, HostFigures):
        return data | {"params": measured.params, "macs": measured.macs, "sites": measured.sites}
    return data | {"params": None, "macs": None, "sites": None, "reason": measured.reason}


def sites(
    host: Annotated[str, typer.Argument(help="A host's name, see `nas hosts`.")],
    input: options.Input = None,
    channels: options.Channels = None,
    classes: options.Classes = None,
    stem: options.Stem = None,
    width: options.Width = None,
    neck: options.Neck = None,
    head: options.Head = None,
    place: Annotated[
        str | None, typer.Option(help="Only the sites at this place: branch, conv, conv1, lateral2, ...")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Draw each block, also where many in a row are alike.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a host as a tree of stages, blocks and sites, with channels and resolution."""
    config = options.host_config(
        host, input=input, channels=channels, classes=classes, stem=stem, width=width, neck=neck, head=head
    )
    found = find_sites(config)
    chosen = sites_at(found, place) if place else found
    total = host_cost(config)
    if as_json:
        listed = [_site_data(site) for site in chosen]
        print_json({"host": config.model_dump(), "params": total.params, "macs": total.macs, "sites": listed})
        return
    print_lines(describe_host(config), f"{total.params:,} parameters, {total.macs:,} MACs")
    if left_out := what_macs_leave_out(config):
        print_lines(left_out)
    print_sites(config, chosen, fold=not every)


def _site_data(site: Site) -> dict[str, Any]:
    columns = ("name", "place", "block", "stage", "channels", "resolution", "known_as")
    data = {column: getattr(site, column) for column in columns}
    return data | {"kinds": list(kinds_at(site)), "sources": [_source_data(source) for source in site.sources]}


def _source_data(source: Source) -> dict[str, Any]:
    return {"channels": source.channels, "resolution": source.resolution}
