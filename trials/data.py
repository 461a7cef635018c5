"""Where the images come from: one configuration, one table of sources."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from search_spaces import HostConfig, InputError
from search_spaces.config import Config
from trials.cifar import load_cifar
from trials.dataset import Dataset
from trials.digits import load_digits
from trials.image_folders import load_folder


class DataConfig(Config):
    """The images to train, validate and test on."""

    source: Literal["digits", "cifar10", "cifar100", "folder"]
    """`digits`: 1,797 grey 8x8 scans that come with scikit-learn. `folder`: any images as
    `train/<class>/*.png` and `test/<class>/*.png` in `dir`."""
    dir: str = "data"
    """The folder that holds the images (CIFAR: or where they are downloaded to). `digits` needs none."""
    validation: int = Field(ge=1)
    """Images kept for validation, the same share of every class."""
    training: int | None = Field(None, ge=1)
    """Train on only so many of the others, the same share of every class."""
    size: int | None = Field(None, ge=1)
    """`source: folder` only: scale the shorter side to so many pixels and cut out the centre square."""
    flip: bool | None = None
    """Mirror training images at random. Not given: digits no, others yes."""
    crop_padding: int | None = Field(None, ge=0)
    """Shift training images by up to so many pixels. Not given: digits 1, CIFAR 4, folder size / 8."""

    @model_validator(mode="after")
    def _size_has_an_effect(self) -> "DataConfig":
        if self.size is not None and self.source != "folder":
            raise InputError(f"`size` is for `source: folder`, {self.source} has images of one size")
        return self


@dataclass(frozen=True)
class _Source:
    load: Callable[[Path, int | None], Dataset]
    """From (dir, size)."""
    flip: bool
    crop_padding: int | None
    """None: an eighth of the size of the images."""
    known: dict[str, int] = field(default_factory=dict)
    """What a host must have, under the names that `HostConfig` gives it."""


def _cifar(num_classes: int) -> _Source:
    known = {"classes": num_classes, "channels": 3, "input": 32}
    return _Source(lambda folder, _: load_cifar(num_classes, folder), flip=True, crop_padding=4, known=known)


_SOURCES = {
    "digits": _Source(
        lambda _, __: load_digits(),
        flip=False,
        crop_padding=1,
        known={"classes": 10, "channels": 1, "input": 8},
    ),
    "cifar10": _cifar(10),
    "cifar100": _cifar(100),
    "folder": _Source(load_folder, flip=True, crop_padding=None),
}


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image."""

    flip: bool
    crop_padding: int


def load_data(config: DataConfig) -> Dataset:
    """Return the images of `config`, which stay in this process's memory for the next call.

    Only `source`, `dir` and `size` matter here; the split is made by `split`.

    Raises:
        InputError: the images are missing or damaged; the message says where they were looked for.
    """
    return _load(config.source, Path(config.dir).expanduser().absolute(), config.size)


@lru_cache(maxsize=2)
def _load(source: str, folder: Path, size: int | None) -> Dataset:
    return _SOURCES[source].load(folder, size)


def augmentation(config: DataConfig, size: int) -> Augmentation:
    """Return the augmentation of `config` for images of `size` pixels, with its defaults filled in."""
    source = _SOURCES[config.source]
    padding = size // 8 if source.crop_padding is None else source.crop_padding
    return Augmentation(
        flip=source.flip if config.flip is None else config.flip,
        crop_padding=padding if config.crop_padding is None else config.crop_padding,
    )


def known_images(config: DataConfig) -> dict[str, int]:
    """Return what is known of the images before they are read, under the names that a host has for it.

    `classes`, `channels` and `input` (size in pixels), as far as they are known: of a folder at most `input`.
    """
    return _SOURCES[config.source].known | ({} if config.size is None else {"input": config.size})


def check_images(host: HostConfig, dataset: Dataset) -> None:
    """Raise InputError if the host does not read these images or has another number of classes."""
    needed = {"classes": len(dataset.classes), "channels": dataset.channels, "input": dataset.size}
    wrong = {what: value for what, value in needed.items() if getattr(host, what) != value}
    if wrong:
        has = ", ".join(f"`{what}: {getattr(host, what)}`" for what in wrong)
        raise InputError(
            f"the host {host.name} has {has}, but the images need "
            + ", ".join(f"`{what}: {value}`" for what, value in wrong.items())
        )
