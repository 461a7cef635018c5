"""The command that takes a placement to another host, such as from a proxy to a detector."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import host_options as options
from nas.cli.architecture_commands import ArchitectureArgument, load_architecture
from nas.cli.output import AsJson, describe_host, print_json, print_lines, print_table
from nas.whole_files import write_whole
from search_spaces import Architecture, InputError
from search_spaces.transfer import Transfer
from search_spaces.transfer import transfer as transfer_to


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(transfer)


def transfer(
    architecture: ArchitectureArgument,
    host: Annotated[str, typer.Option(help="The host to take it to, see `nas hosts`.")],
    input: options.Input = None,
    channels: options.Channels = None,
    classes: options.Classes = None,
    stem: options.Stem = None,
    width: options.Width = None,
    neck: options.Neck = None,
    head: options.Head = None,
    out: Annotated[Path | None, typer.Option(help="The YAML file to write.", show_default="standard output")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Go on although something does not transfer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a placement to another host by the names of its sites, and say what does not transfer and why."""
    loaded = load_architecture(architecture)
    target = options.host_config(
        host, input=input, channels=channels, classes=classes, stem=stem, width=width, neck=neck, head=head
    )
    if out:
        _refuse_to_replace(out, force)
    moved = transfer_to(loaded, target)
    complete = partial or not moved.left
    if as_json:
        written = str(out) if out and complete else None
        print_json({"id": moved.architecture.id, **moved.architecture.to_dict(), "moved": list(moved.moved),
                    "left": dict(moved.left), "written": written})  # fmt: skip
    else:
        _print_outcome(loaded, moved)
    if not complete:
        raise InputError(
            f"{len(moved.left)} of {len(loaded.items)} sites do not transfer, and nothing is written; "
            "--partial goes on without them"
        )
    if out:
        _write(out, moved.architecture)
        print_lines(f"written: {out}", errors=True)
    elif not as_json:
        typer.echo(moved.architecture.to_yaml(), nl=False)


def _refuse_to_replace(out: Path, force: bool) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out {out}: an architecture's path ends in .yaml")
    if out.exists() and not force:
        raise InputError(f"{out} exists; --force writes over it")


def _write(out: Path, architecture: Architecture) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, architecture.to_yaml())
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from None


def _print_outcome(given: Architecture, moved: Transfer) -> None:
    """Print on standard error what became of each site's modules: standard output is for the architecture."""
    modules = {name: " + ".join(spec.module for spec in specs) for name, specs in given.items}
    print_lines(f"from {describe_host(given.host)}", f"to   {describe_host(moved.architecture.host)}", errors=True)
    rows = [(name, modules[name], moved.left.get(name, "moved")) for name in modules]
    print_table("", ("site", "modules", "outcome"), rows, errors=True)
    print_lines(f"{len(moved.moved)} of {len(modules)} sites moved", errors=True)
