"""Where the images come from: one configuration, one table of sources."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from search_spaces import HostConfig, InputError
from search_spaces.config import Config
from trials.cifar import CIFAR_SIZES, load_cifar
from trials.dataset import Dataset
from trials.digits import load_digits
from trials.image_folders import load_folder
from trials.scene_shapes import SHAPES
from trials.scenes import SceneSet, load_scenes

Known = dict[str, int | str]


class DataConfig(Config):
    """The images to train, validate and test on."""

    source: Literal["digits", "cifar10", "cifar100", "folder", "scenes"]
    """`digits`: 1,797 grey 8x8 scans that come with scikit-learn. `folder`: any images as
    `train/<class>/*.png` and `test/<class>/*.png` in `dir`. `scenes`: shapes of many sizes on textured ground, made
    here from a seed; each pixel has a class, so the host needs `head: segment`."""
    dir: str = "data"
    """The folder that holds the images (CIFAR: or where they are downloaded to). `digits`, `scenes` need none."""
    validation: int = Field(ge=1)
    """Images kept for validation, the same share of every class (`scenes`: any of them)."""
    training: int | None = Field(None, ge=1)
    """Train on only so many of the others, the same share of every class."""
    size: int | None = Field(None, ge=1)
    """`source: folder`: scale the shorter side to so many pixels and cut out the centre square. CIFAR: 16 or 8, the
    means of 2x2 or 4x4 pixels; not given: 32. `scenes`: their height and width, from 16; not given: 64."""
    images: int | None = Field(None, ge=2)
    """`scenes` only: images to train and validate on, a quarter as many come on top for testing. Not given: 2000."""
    classes: int | None = Field(None, ge=1, le=len(SHAPES))
    """`scenes` only: kinds of shapes; the host has one class more, the background. Not given: 5."""
    seed: int | None = Field(None, ge=0)
    """`scenes` only: what the images are drawn from. Not given: 0."""
    flip: bool | None = None
    """Mirror training images at random. Not given: digits no, others yes."""
    crop_padding: int | None = Field(None, ge=0)
    """Shift training images by up to so many pixels. Not given: an eighth of their size."""
    crop: Literal["zero", "reflect"] = "zero"
    """What comes in where an image is shifted: black, or the image mirrored at its edge."""
    cutout: int = Field(0, ge=0)
    """Side of the square in pixels that is cut out of each training image; 0: none. Not of scenes."""

    @model_validator(mode="after")
    def _size_has_an_effect(self) -> "DataConfig":
        if self.size is not None and self.source == "digits":
            raise InputError("`size` is not for `source: digits`, whose images are 8x8")
        if self.size not in (None, *CIFAR_SIZES) and self.source in ("cifar10", "cifar100"):
            allowed = ", ".join(map(str, CIFAR_SIZES))
            raise InputError(f"`size` of {self.source} must be one of {allowed}, got {self.size}")
        if self.source == "scenes" and self.size is not None and not 16 <= self.size <= 1024:
            raise InputError(f"`size` of scenes must be from 16 to 1024, got {self.size}")
        return self

    @model_validator(mode="after")
    def _scenes_are_made(self) -> "DataConfig":
        if self.cutout and self.source == "scenes":
            raise InputError("`cutout` is for images with one class each: what it hides of a scene still has its class")
        given = [name for name in ("images", "classes", "seed") if getattr(self, name) is not None]
        if given and self.source != "scenes":
            raise InputError(f"`{given[0]}` is for `source: scenes`; the images of {self.source} are as they are")
        return self

    @property
    def scenes(self) -> SceneSet:
        """The scenes, for `source: scenes`, with what is not given filled in."""
        given = {"num_images": self.images, "size": self.size, "num_shapes": self.classes, "seed": self.seed}
        return SceneSet(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class _Source:
    load: Callable[[DataConfig], Dataset]
    known: Callable[[DataConfig], Known]
    """What a host must have, under the names that `HostConfig` gives it, as far as it is known without reading."""
    flip: bool


def _cifar(num_classes: int) -> _Source:
    def known(data: DataConfig) -> Known:
        return {"classes": num_classes, "channels": 3, "input": data.size or CIFAR_SIZES[0], "head": "classify"}

    def load(data: DataConfig) -> Dataset:
        return load_cifar(num_classes, Path(data.dir), data.size or CIFAR_SIZES[0])

    return _Source(load, known, flip=True)


def _known_digits(_: DataConfig) -> Known:
    return {"classes": 10, "channels": 1, "input": 8, "head": "classify"}


def _known_folder(data: DataConfig) -> Known:
    size: Known = {} if data.size is None else {"input": data.size}
    return {**size, "head": "classify"}


def _known_scenes(data: DataConfig) -> Known:
    return {"classes": len(data.scenes.classes), "channels": 3, "input": data.scenes.size, "head": "segment"}


_SOURCES = {
    "digits": _Source(lambda _: load_digits(), _known_digits, flip=False),
    "cifar10": _cifar(10),
    "cifar100": _cifar(100),
    "folder": _Source(lambda data: load_folder(Path(data.dir), data.size), _known_folder, flip=True),
    "scenes": _Source(lambda data: load_scenes(data.scenes), _known_scenes, flip=True),
}


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image."""

    flip: bool
    crop_padding: int
    crop: Literal["zero", "reflect"] = "zero"
    cutout: int = 0


def load_data(config: DataConfig) -> Dataset:
    """Return the images of `config`, which stay in this process's memory for the next call.

    How they are split and augmented does not matter here; see `split` and `augmentation`.

    Raises:
        InputError: the images are missing or damaged; the message says where they were looked for.
    """
    return provided(config) or _load(DataConfig.model_validate(_what_is_read(config)))


def provided(config: DataConfig) -> Dataset | None:
    """Return what `provide` was last called with for these images."""
    return _PROVIDED.get(DataConfig.model_validate(_what_is_read(config)))


def provide(config: DataConfig, dataset: Dataset) -> None:
    """Have `load_data` return `dataset` for `config` in this process, without looking for its files."""
    _PROVIDED.clear()
    _PROVIDED[DataConfig.model_validate(_what_is_read(config))] = dataset


_PROVIDED: dict[DataConfig, Dataset] = {}
"""At most one, that other machines' files were read for."""


def _what_is_read(config: DataConfig) -> dict[str, Any]:
    folder = str(Path(config.dir).expanduser().absolute())
    names = ("source", "size", "images", "classes", "seed")
    return {name: getattr(config, name) for name in names} | {"dir": folder, "validation": 1}


@lru_cache(maxsize=2)
def _load(config: DataConfig) -> Dataset:
    return _SOURCES[config.source].load(config)


def augmentation(config: DataConfig, size: int) -> Augmentation:
    """Return the augmentation of `config` for images of `size` pixels, with its defaults filled in.

    Raises:
        InputError: `crop: reflect` without a shift, or with one that an image of this size is too small to mirror;
            `cutout` of more than the image.
    """
    padding = size // 8 if config.crop_padding is None else config.crop_padding
    if config.crop == "reflect" and not 0 < padding < size:
        raise InputError(f"`crop: reflect` needs a `crop_padding` from 1 to {size - 1}, got {padding}")
    if config.cutout > size:
        raise InputError(f"`cutout` must be at most the images' {size} pixels, got {config.cutout}")
    return Augmentation(mirrors(config), padding, config.crop, config.cutout)


def mirrors(config: DataConfig) -> bool:
    """Return whether training images are mirrored at random."""
    return _SOURCES[config.source].flip if config.flip is None else config.flip


def known_images(config: DataConfig) -> Known:
    """Return what is known of the images before they are read, under the names that a host has for it.

    `classes`, `channels` and `input` (size in pixels), as far as they are known (of a folder at most `input`), and the
    `head` that they are for.
    """
    return _SOURCES[config.source].known(config)


def check_images(host: HostConfig, dataset: Dataset) -> None:
    """Raise InputError if the host does not read these images, has another number of classes, or another task."""
    if host.head != dataset.task:
        raise InputError(_other_task(host, dataset))
    needed = {"classes": len(dataset.classes), "channels": dataset.channels, "input": dataset.size}
    wrong = {what: value for what, value in needed.items() if getattr(host, what) != value}
    if wrong:
        has = ", ".join(f"`{what}: {getattr(host, what)}`" for what in wrong)
        raise InputError(
            f"the host {host.name} has {has}, but the images need "
            + ", ".join(f"`{what}: {value}`" for what, value in wrong.items())
            + (f" (the classes are {', '.join(dataset.classes)})" if dataset.task == "segment" else "")
        )


def _other_task(host: HostConfig, dataset: Dataset) -> str:
    """Return in words why a host's head is not for these images, and what is."""
    has, allowed = f"the host {host.name} has `head: {host.head}`", "classify, segment"
    if host.head not in ("classify", "segment"):
        return f"{has}, which a trial does not train; allowed: {allowed}"
    if dataset.task == "segment":
        return f"{has}, but each pixel of these images has a class; give `neck: fpn, head: segment`"
    return f"{has}, but these images have one class each, not one for each pixel; leave `head` out, or take scenes"
