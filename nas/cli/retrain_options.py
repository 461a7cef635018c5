"""The options of `nas retrain`."""

from pathlib import Path
from typing import Annotated

import typer

Subject = Annotated[
    str,
    typer.Argument(
        metavar="ARCHITECTURE|STUDY",
        help="A YAML file, or the name of a shipped placement; with --front or --pick a study; with --evaluate the "
        "folder of a retraining.",
    ),
]
RecipeName = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help="A YAML file, or one of `nas recipes`.", show_default=False)
]
Front = Annotated[
    bool, typer.Option("--front", help="Of a study: its bare host, every winner of its front, and its baselines.")
]
Pick = Annotated[
    list[str] | None,
    typer.Option(help="Of a study: knee, best-accuracy, an id, or a trial's number. May be repeated."),
]
DataDir = Annotated[
    Path | None, typer.Option(help="The folder of images, in place of the recipe's.", show_default="the recipe's")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The folder to write; of a study, in place of STUDY/retrained.",
        show_default="retrained/<recipe>/<id>-seed<k>",
    ),
]
Processes = Annotated[
    int, typer.Option("--gpus", "--processes", min=1, help="Processes that train together: one for each GPU.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")]
Seed = Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")]
Seeds = Annotated[int, typer.Option(min=1, help="Of a study: train each with so many seeds, from --seed on.")]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="For so many epochs; its milestones move along.", show_default="the recipe's")
]
Accumulation = Annotated[
    int | None, typer.Option(min=1, help="Parts of each process's share of a batch, for want of memory.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that read images for each GPU.", show_default="as many as there are CPUs"),
]
Backbone = Annotated[
    Path | None, typer.Option(help="Weights, or the folder of a retraining, to start a detector's backbone from.")
]
KeepCheckpoints = Annotated[bool, typer.Option("--keep-checkpoints", help="Leave the last checkpoints.")]
Evaluate = Annotated[bool, typer.Option("--evaluate", help="Score a retrained network again.")]
