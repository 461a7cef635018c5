"""The command that draws the project's scenes into folders in the formats of known data sets."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.cli.output import console, print_lines
from trials import SceneSet
from trials.detection.scene_folders import Format, write_scenes
from trials.scene_shapes import SHAPES


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(scenes)


def scenes(
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist.")],
    layout: Annotated[
        Format, typer.Option("--format", help="coco: boxes and masks; voc: boxes, and classes of pixels.")
    ] = "coco",
    images: Annotated[int, typer.Option(min=1, help="Images to train on; a quarter as many come on top.")] = 2000,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Height and width in pixels.")] = 64,
    classes: Annotated[int, typer.Option(min=1, max=len(SHAPES), help="Kinds of shapes.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="What the images are drawn from.")] = 0,
) -> None:
    """Draw scenes into a folder in the format of COCO or Pascal VOC, for `nas retrain` without those data sets."""
    drawn = SceneSet(images, size, classes, seed)
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    where = console(errors=True)
    with Progress(*columns, console=where, transient=True, disable=not where.is_terminal) as progress:
        task = progress.add_task("")
        write_scenes(drawn, folder, layout, lambda done, total: progress.update(task, completed=done, total=total))
    test = "val2017" if layout == "coco" else "VOC2007, test"
    print_lines(
        f"{folder}: {images} images to train on, {len(drawn.test_numbers)} to score ({test}), {classes} classes"
    )
