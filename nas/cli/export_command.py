"""The command about exporting: a network of a study, or a retrained one, in the formats that people deploy."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nas.cli.output import AsJson, print_json, print_lines
from nas.export import (
    ALL,
    DEFAULT_FORMATS,
    FORMATS,
    KNEE,
    Exported,
    Wanted,
    export_retrained,
    export_study,
    is_retrained,
)
from nas.view import open_study
from reports.wording import plural
from search_spaces.errors import InputError

Study = Annotated[
    str,
    typer.Argument(
        metavar="STUDY|FOLDER",
        help="The study's folder, e.g. studies/quickstart, or URL#name of a database; or a folder of nas retrain.",
    ),
]
Pick = Annotated[str, typer.Option(help="knee, best-accuracy, best-miou, an architecture's id, or a trial's number.")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help=f"{', '.join(FORMATS)} or {ALL}; may be given several times. YAML, weights, model.py are always written.",
        show_default=", ".join(DEFAULT_FORMATS),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(export)


def export(
    study: Study,
    pick: Pick = KNEE,
    out: Annotated[Path | None, typer.Option(help="The folder to write.", show_default="exports/<study>-<id>")] = None,
    formats: Formats = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the images are, if not where they were.")] = None,
    accuracy: Annotated[
        bool, typer.Option(help="Measure the exported network on the images of its record, if they are at hand.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Export a network: code that needs torch alone, ONNX, 8 bits, ...; each checked against the trained network."""
    wanted = Wanted(tuple(formats) if formats else DEFAULT_FORMATS, accuracy)
    if is_retrained(study):
        if pick != KNEE:
            raise InputError(f"{study} holds one network, so that there is nothing to pick; leave --pick out")
        result = export_retrained(Path(study), out, wanted, data_dir=data_dir)
    else:
        result = export_study(open_study(study), study, pick, out, wanted, data_dir=data_dir)
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result, "" if is_retrained(study) else f" ({pick})")
    if formats and result.failed:
        raise typer.Exit(1)


def _print(result: Exported, pick: str) -> None:
    print_lines(f"exported {result.architecture_id}{pick} to {result.folder}")
    for line in result.checked:
        print_lines(f"  checked: {line}")
    if result.accuracy:
        print_lines(f"  checked: {result.accuracy.in_words}")
    for row in result.latency:
        found = row.latency
        print_lines(
            f"  timed: {row.what}, {plural(found.batch_size, 'image')}: {found.median_ms:.3g} ms "
            f"({found.p10_ms:.3g} to {found.p90_ms:.3g})"
        )
    for name, reason in result.failed.items():
        print_lines(f"  not written: {name}: {reason}", errors=True)
    runs = "network.py" if (result.folder / "network.py").exists() else "model.py"
    print_lines("try:", f"  {sys.executable} {result.folder / runs}")
