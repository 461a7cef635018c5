"""The options that say which host is meant: its images, classes, stem, width, neck and head."""

from typing import Annotated, Any

import typer

from search_spaces import HostConfig
from search_spaces.hosts import SHORTHANDS, host_entry
from search_spaces.yaml_files import Document, validate

Input = Annotated[int | None, typer.Option(help="Height and width of the images.", show_default="the host's")]
Channels = Annotated[int | None, typer.Option(help="Channels of the images.", show_default="3")]
Classes = Annotated[int | None, typer.Option(help="Outputs of the head.", show_default="the host's")]
Stem = Annotated[str | None, typer.Option(help="imagenet or cifar.", show_default="the host's")]
Width = Annotated[float | None, typer.Option(help="Multiplies the channels of every stage.", show_default="1")]
Neck = Annotated[str | None, typer.Option(help="fpn: a feature pyramid over the stages.")]
Head = Annotated[
    str | None,
    typer.Option(
        help="classify, segment, fasterrcnn, maskrcnn, keypointrcnn, retinanet or fcos.", show_default="classify"
    ),
]


def host_config(name: str, **given: Any) -> HostConfig:
    """Return the host of a name and the options that were given, None for those that were not. Raises InputError."""
    if name not in SHORTHANDS:
        host_entry(name)
    chosen = {key: value for key, value in given.items() if value is not None}
    return validate(HostConfig, Document({"name": name, **chosen}, "host"))
