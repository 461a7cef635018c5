"""Commands about a study: search, status, report."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli import search_options as options
from nas.cli.fault_lines import fault_lines
from nas.cli.front_table import print_front
from nas.cli.output import AsJson, print_json, print_lines, print_table, program
from nas.cli.plugins_option import plugins_as_typed
from nas.driver import Outcome
from nas.driver import search as run_search
from nas.garbage_collection import no_collection
from nas.running.progress import Watcher
from nas.study.home import ANALYSIS, find_study
from nas.view import open_study, read_view
from reports import FrontRow, StudyView, TrialView, front_rows, write_report

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="The study's folder, e.g. studies/quickstart, or URL#name of a database.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (search, status, report):
        app.command()(command)


def search(
    experiment: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped experiment.")],
    study: options.Study = None,
    folder: options.Folder = None,
    take_over: options.TakeOver = False,
    data_dir: options.DataDir = None,
    workers: options.Workers = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    executor: options.Executor = "local",
    address: options.Address = None,
    runtime_env: options.RuntimeEnv = None,
    track: options.Track = None,
    as_json: AsJson = False,
) -> None:
    """Start a search, or go on with it if its study exists."""
    watcher = Watcher.quiet() if as_json else None
    ray = options.ray_settings(executor, address, runtime_env)
    try:
        outcome = run_search(
            experiment,
            study,
            data_dir=data_dir,
            workers=workers,
            device=device,
            ray=ray,
            track=track or (),
            watcher=watcher,
            folder=folder,
            take_over=take_over,
        )
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; nothing that finished is lost. The same command goes on from here.", err=True)
        raise
    if as_json:
        print_json({"study": outcome.view.path, "report": str(outcome.report), **_as_data(outcome.view)})
    else:
        _print_outcome(outcome)


def _print_outcome(outcome: Outcome) -> None:
    print_lines("")
    print_front(outcome.view)
    if outcome.view.exhausted:
        print_lines("The space is exhausted: every architecture within the limits was tried.")
    print_lines(
        "",
        f"report:  {outcome.report}",
        "next:",
        f"  {program()} status {shlex.quote(outcome.view.path)}{plugins_as_typed()}",
        f"  {program()} export {shlex.quote(outcome.view.path)} --pick knee{plugins_as_typed()}",
    )


def _as_data(view: StudyView) -> dict[str, Any]:
    """Return the study as JSON-able data."""
    counts = {name: _counts(trials) for name, trials in (("search", view.search), ("confirm", view.confirm))}
    return {
        "name": view.name,
        "objectives": list(view.objectives),
        "counts": {
            name: dict(zip(("complete", "stopped", "running", "failed"), c, strict=True)) for name, c in counts.items()
        },
        "refused": view.num_refused,
        "exhausted": view.exhausted,
        "front": [_row_data(row) for row in front_rows(view)],
        "trials": [_trial_data(trial) for trial in view.search],
        "confirm": [_trial_data(trial) for trial in view.confirm],
    }


def _row_data(row: FrontRow) -> dict[str, Any]:
    data = asdict(replace(row, architecture=None))  # type: ignore[arg-type]
    return data | {"name": row.name, "architecture": row.architecture.to_dict()}


def _trial_data(trial: TrialView) -> dict[str, Any]:
    record = trial.record
    return {
        "number": trial.number,
        "role": trial.role,
        "label": trial.label,
        "id": trial.architecture.id,
        "state": trial.state,
        "reason": trial.reason,
        "values": trial.values,
        "record": record.to_dict() if record else None,
    }


def status(study: StudyArgument, as_json: AsJson = False) -> None:
    """Show how a study stands, also while its search runs."""
    view = open_study(study)
    if as_json:
        print_json(_as_data(view))
        return
    print_lines(f"{view.name}: {view.description}" if view.description else view.name)
    rows = [(name, *_counts(trials)) for name, trials in (("search", view.search), ("confirm", view.confirm))]
    columns = ("done", "stopped early", "running", "failed")
    print_table("", ("", *columns), rows, columns)
    plan = view.experiment["search"]
    print_lines(f"search ({plan['sampler']}) asks for {plan['trials']} trials beside the baselines")
    for trial in (*view.search, *view.confirm):
        print_lines(*fault_lines(trial))
    print_lines("")
    print_front(view)


def _counts(trials: tuple[TrialView, ...]) -> tuple[int, ...]:
    states = [trial.state for trial in trials]
    return tuple(states.count(state) for state in ("complete", "stopped", "running", "failed"))


def report(
    study: StudyArgument,
    out: Annotated[Path | None, typer.Option(help="The report's folder.", show_default="STUDY/report")] = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html with figures and CSV files, also while the search runs."""
    home = find_study(study)
    with no_collection():
        view = read_view(home)
        page = write_report(view, out or home.folder / "report", home.folder / ANALYSIS)
    if as_json:
        print_json({"report": str(page), **_as_data(view)})
        return
    print_front(view)
    print_lines("", f"report:  {page}")
