"""The options of `nas analyze`."""

from pathlib import Path
from typing import Annotated

import typer

from reports.analysis.pictures import Part

Network = Annotated[
    str,
    typer.Argument(
        metavar="ARCHITECTURE|EXPORT|STUDY",
        help="An architecture (YAML file or shipped name) with --weights, the folder of an export, or a study.",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="The trained weights of an architecture.")]
HostWeights = Annotated[
    Path | None, typer.Option(help="Trained weights of the bare host, to compare with; a study has them.")
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE|YAML|EXPERIMENT",
        help="The images: digits, cifar10, cifar100, '{source: folder, dir: pictures, validation: 500}', or "
        "an experiment's. A study has them.",
    ),
]
DataDir = Annotated[str | None, typer.Option(help="Where the images are.")]
WhichPart = Annotated[
    Part | None,
    typer.Option(help="Which images to look at.", show_default="validation where it is known what was held out"),
]
Pick = Annotated[str | None, typer.Option(help="Of a study: as `nas export` takes it.", show_default="knee")]
Images = Annotated[int, typer.Option(min=1, help="Images to look at, at most.")]
Examples = Annotated[int, typer.Option(min=0, help="Images to show with maps.")]
Classes = Annotated[
    str | None, typer.Option(help="Classes whose weights are drawn, with commas between.", show_default="four")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Out = Annotated[
    Path | None, typer.Option(help="The folder to write.", show_default="analysis/<id>, in a study or export there")
]
