"""The options of `nas search`: where its study is, and where its trials run and are written down."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nas.ray_cluster import RaySettings
from nas.running.tracking import Tracker
from search_spaces.errors import InputError
from search_spaces.yaml_files import read_yaml

ExecutorName = Literal["local", "ray"]

Study = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|URL",
        help="The study's folder, or a database: sqlite:///FILE, postgresql://USER@HOST/DATABASE, "
        "mysql://...; behind it #NAME of the study, by default the experiment's.",
        show_default="studies/<experiment's name>",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        help="Where weights, checkpoints and report of a study in a database are.",
        show_default="where they were, or studies/<study's name>",
    ),
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Drive the study although another process does; that one ends.")
]
DataDir = Annotated[str | None, typer.Option(help="Where the images are, instead of the experiment's data.dir.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Trials at a time, instead of search.workers.")]
Executor = Annotated[ExecutorName, typer.Option(help="Where trials run: processes here, or a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(help="With ray: auto, HOST:PORT or ray://HOST:PORT of a running cluster.", show_default="here"),
]
RuntimeEnv = Annotated[
    Path | None, typer.Option(help="With ray: a YAML file with Ray's runtime environment of the nodes.")
]
Track = Annotated[
    list[Tracker] | None,
    typer.Option(help="Write trials down in a tracker too; mlflow and wandb with ray. May be repeated."),
]


def ray_settings(executor: ExecutorName, address: str | None, runtime_env: Path | None) -> RaySettings | None:
    """Return what was asked of the cluster; None for the local pool.

    Raises:
        InputError: an option of the cluster without `--executor ray`, or a damaged file.
    """
    if executor == "local":
        given = {"--address": address, "--runtime-env": runtime_env}
        if wrong := next((name for name, value in given.items() if value is not None), None):
            raise InputError(f"{wrong} is for `--executor ray`")
        return None
    return RaySettings(address, _read(runtime_env) if runtime_env else {})


def _read(path: Path) -> dict[str, Any]:
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise document.error((), "must hold keys of Ray's runtime environment, such as `py_modules`")
    return document.data
