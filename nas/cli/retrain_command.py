"""The command that trains a network in full, and scores it again."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import typer

from nas import ray_cluster
from nas.cli import retrain_options as options
from nas.cli import search_options
from nas.cli.architecture_commands import load_architecture
from nas.cli.output import AsJson, print_json, print_lines, print_table, program
from nas.cli.retrain_study import retrain_study
from nas.ray_cluster import RaySettings
from nas.winners import Train, is_first_process
from search_spaces import Architecture, InputError
from trials.failure import DivergedError
from trials.retrain import (
    Job,
    Recipe,
    RetrainRecord,
    StoppedTrainingError,
    evaluate_retrained,
    load_recipe,
    read_record,
    recipe_name,
    recipe_names,
    retrain,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(name="retrain")(retrain_command)
    app.command()(recipes)


def retrain_command(
    subject: options.Subject,
    recipe: options.RecipeName = None,
    front: options.Front = False,
    pick: options.Pick = None,
    data_dir: options.DataDir = None,
    out: options.Out = None,
    gpus: options.Processes = 1,
    device: options.Device = "auto",
    executor: search_options.Executor = "local",
    address: search_options.Address = None,
    runtime_env: search_options.RuntimeEnv = None,
    seed: options.Seed = 0,
    seeds: options.Seeds = 1,
    epochs: options.Epochs = None,
    accumulation: options.Accumulation = None,
    workers: options.Workers = None,
    backbone: options.Backbone = None,
    keep_checkpoints: options.KeepCheckpoints = False,
    evaluate: options.Evaluate = False,
    as_json: AsJson = False,
) -> None:
    """Train a network, or a study's winners, in full by a recipe; the same command goes on after an interruption."""
    if evaluate:
        _evaluate(Path(subject), data_dir, device, workers, as_json)
        return
    if recipe is None:
        raise InputError(f"a RECIPE is missing; shipped ones: {', '.join(recipe_names())}")
    if seeds > 1 and not (front or pick):
        raise InputError("--seeds is for the networks of a study, with --front or --pick; give --seed for one of them")
    chosen, name = _changed(load_recipe(recipe), epochs, accumulation), recipe_name(recipe)
    cluster = search_options.ray_settings(executor, address, runtime_env)
    where: dict[str, Any] = {"data_dir": data_dir, "device": device, "workers": workers, "backbone": backbone}

    def job(architecture: Architecture, seed: int, folder: Path) -> Job:
        return Job(architecture, chosen, name, seed, folder, keep_checkpoints=keep_checkpoints, **where)

    with _told_how_it_ended(), _trainer(gpus, cluster) as train:
        if front or pick:
            retrain_study(subject, front, pick or [], range(seed, seed + seeds), name, out, job, train, as_json)
        else:
            loaded = load_architecture(subject)
            folder = out or Path("retrained") / name / f"{loaded.id}-seed{seed}"
            _print_record(train(job(loaded, seed, folder)), folder, as_json)


def _trainer(processes: int, cluster: RaySettings | None) -> AbstractContextManager[Train]:
    if cluster is None:
        return nullcontext(lambda job: retrain(job, processes=processes, shown=True))
    return ray_cluster.make_training(cluster, processes, lambda text: print_lines(text, errors=True))


@contextmanager
def _told_how_it_ended() -> Iterator[None]:
    try:
        yield
    except StoppedTrainingError as stopped:
        typer.echo(f"nas: {stopped}", err=True)
        raise typer.Exit(128 + stopped.number) from None
    except DivergedError as error:
        typer.echo(f"nas: {error}", err=True)
        raise typer.Exit(1) from None


def _changed(recipe: Recipe, epochs: int | None, accumulation: int | None) -> Recipe:
    """Return the recipe with what the command line changes; the folder's recipe.yaml has it so."""
    asked = {"epochs": epochs, "accumulation": accumulation}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if "epochs" in given and recipe.iterations is not None:
        raise InputError(f"--epochs is for recipes in epochs; this one has `iterations: {recipe.iterations}`")
    if not given:
        return recipe
    if "epochs" in given and recipe.schedule.milestones and recipe.epochs:
        scale = given["epochs"] / recipe.epochs
        given["schedule"] = recipe.schedule.model_dump() | {
            "milestones": [milestone * scale for milestone in recipe.schedule.milestones]
        }
    return type(recipe).model_validate(recipe.to_dict() | given)


def _evaluate(folder: Path, data_dir: Path | None, device: str, workers: int | None, as_json: bool) -> None:
    metrics, record = evaluate_retrained(folder, data_dir, device=device, workers=workers), read_record(folder)
    if as_json:
        print_json({"metrics": metrics, "saved": record.metrics, "split": record.split})
        return
    rows = [(name, f"{value:.6f}", f"{record.metrics.get(name, float('nan')):.6f}") for name, value in metrics.items()]
    print_lines(f"{folder}: {record.architecture_id} by {record.recipe_name}, on the {record.split} split")
    print_table("", ("metric", "now", "when it was saved"), rows, ("now", "when it was saved"))


def _print_record(record: RetrainRecord, folder: Path, as_json: bool) -> None:
    if not is_first_process():
        return
    if as_json:
        print_json(record.to_dict())
        return
    print_lines(
        f"architecture {record.architecture_id} by {record.recipe_name}, seed {record.seed}: after the last of "
        f"{len(record.history)} epochs, on the {record.split} split"
    )
    rows = [(name, f"{value:.4f}") for name, value in record.metrics.items()]
    print_table("", ("metric", "value"), rows, ("value",))
    print_lines(
        f"{record.images_per_s:,.0f} images/s in training, {record.waiting_share:.0%} of its time waiting for data; "
        f"{record.wall_s:,.0f} s in all",
        f"written: {folder}",
        f"score it again: {program()} retrain {folder} --evaluate",
    )


def recipes(as_json: AsJson = False) -> None:
    """List the recipes that `nas retrain` knows by name."""
    loaded = {name: load_recipe(name) for name in recipe_names()}
    if as_json:
        print_json([{"name": name, **recipe.to_dict()} for name, recipe in loaded.items()])
        return
    rows = [
        (
            name,
            recipe.task,
            f"{recipe.epochs} epochs" if recipe.epochs else f"{recipe.iterations:,} iterations",
            recipe.batch_size,
            f"{recipe.optimizer.lr:g}",
            recipe.schedule.kind,
            recipe.source,
        )
        for name, recipe in loaded.items()
    ]
    print_table("", ("recipe", "task", "length", "batch", "lr", "schedule", "source"), rows, ("batch", "lr"))
