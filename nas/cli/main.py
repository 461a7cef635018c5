"""The entry point: every command, and how mistakes are answered."""

import sys
from importlib.metadata import version

import typer

from nas.cli import (
    analysis_command,
    architecture_commands,
    catalogue_commands,
    compare_command,
    export_command,
    host_commands,
    retrain_command,
    scenes_command,
    study_commands,
    transfer_command,
)
from nas.cli.plugins_option import PluginsOption, load_given, with_plugins
from search_spaces.errors import InputError

app = typer.Typer(
    name="nas",
    help="Search over attention placements in CNNs: which attention may go where, and what it buys.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (
    study_commands,
    export_command,
    compare_command,
    analysis_command,
    architecture_commands,
    transfer_command,
    retrain_command,
    host_commands,
    catalogue_commands,
    scenes_command,
):
    commands.register(app)
for info in app.registered_commands:
    assert info.callback
    info.callback = with_plugins(info.callback)


@app.callback(invoke_without_command=True)
def _root(
    show_version: bool = typer.Option(False, "--version", help="Print the version."), plugins: PluginsOption = None
) -> None:
    if show_version:
        typer.echo(version("attention-placement-search"))
        raise typer.Exit()
    load_given(plugins)


def main() -> None:
    """Run the command line. A user's mistake is one message and status 2, an interruption is status 130."""
    try:
        app()
    except InputError as error:
        typer.echo(f"nas: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
