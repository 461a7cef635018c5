"""The command that trains a network in full, and scores it again."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli.architecture_commands import load_architecture
from nas.cli.output import AsJson, print_json, print_lines, print_table, program
from search_spaces import InputError
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

DataDir = Annotated[
    Path | None, typer.Option(help="The folder of images, in place of the recipe's.", show_default="the recipe's")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that read images for each GPU.", show_default="as many as there are CPUs"),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(name="retrain")(retrain_command)
    app.command()(recipes)


def retrain_command(
    architecture: Annotated[
        str,
        typer.Argument(
            metavar="ARCHITECTURE",
            help="A YAML file, or the name of a shipped placement; with --evaluate the folder of a retraining.",
        ),
    ],
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A YAML file, or one of `nas recipes`.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write.", show_default="retrained/<recipe>/<id>-seed<k>")
    ] = None,
    gpus: Annotated[
        int, typer.Option("--gpus", "--processes", min=1, help="Processes that train together: one for each GPU.")
    ] = 1,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")] = 0,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="For so many epochs; its milestones move along.", show_default="the recipe's"),
    ] = None,
    accumulation: Annotated[
        int | None, typer.Option(min=1, help="Parts of each process's share of a batch, for want of memory.")
    ] = None,
    workers: Workers = None,
    backbone: Annotated[
        Path | None, typer.Option(help="Weights, or the folder of a retraining, to start a detector's backbone from.")
    ] = None,
    keep_checkpoints: Annotated[bool, typer.Option("--keep-checkpoints", help="Leave the last checkpoints.")] = False,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Score a retrained network again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network in full by a recipe; the same command goes on after an interruption."""
    if evaluate:
        _evaluate(Path(architecture), data_dir, device, workers, as_json)
        return
    if recipe is None:
        raise InputError(f"a RECIPE is missing; shipped ones: {', '.join(recipe_names())}")
    loaded, name = load_architecture(architecture), recipe_name(recipe)
    chosen = _changed(load_recipe(recipe), epochs, accumulation)
    folder = out or Path("retrained") / name / f"{loaded.id}-seed{seed}"
    job = Job(loaded, chosen, name, seed, folder, data_dir, device, workers, backbone, keep_checkpoints)
    try:
        record = retrain(job, processes=gpus, shown=True)
    except StoppedTrainingError as stopped:
        typer.echo(f"nas: {stopped}", err=True)
        raise typer.Exit(128 + stopped.number) from None
    except DivergedError as error:
        typer.echo(f"nas: {error}", err=True)
        raise typer.Exit(1) from None
    if os.environ.get("RANK", "0") != "0":
        return  # torchrun has started this command itself, several times
    if as_json:
        print_json(record.to_dict())
    else:
        _print_record(record, folder)


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


def _print_record(record: RetrainRecord, folder: Path) -> None:
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
