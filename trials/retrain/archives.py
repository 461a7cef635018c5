"""ImageNet's archives as they are published: torchvision unpacks them, once, into folders of classes."""

import shutil
from pathlib import Path

from search_spaces import InputError
from trials.retrain.place import Place

_TRAIN, _VAL, _DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"


def has_archives(folder: Path) -> bool:
    """Whether the archive of training images is there."""
    return (folder / _TRAIN).is_file()


def unpack(folder: Path, place: Place) -> None:
    """Unpack the archives into `train/<wnid>` and `val/<wnid>` beside them, in the first process; the others wait.

    Each split appears under its name when it is complete.

    Raises:
        InputError: an archive is missing or damaged, or the disk is full.
    """
    refused = ""
    if place.is_first:
        try:
            _unpack(folder)
        except (RuntimeError, OSError) as error:  # torchvision's checks of the archives; a full disk
            refused = f"{folder}: ImageNet's archives cannot be unpacked: {error}"
    refused = place.gather_json(refused)[0]
    if refused:
        raise InputError(refused)


def _unpack(folder: Path) -> None:
    from torchvision.datasets import imagenet

    missing = [name for name in (_TRAIN, _VAL, _DEVKIT) if not (folder / name).is_file()]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} missing; {_TRAIN}, {_VAL} and {_DEVKIT} are needed")
    imagenet.parse_devkit_archive(str(folder))
    for split, parse in (("val", imagenet.parse_val_archive), ("train", imagenet.parse_train_archive)):
        unfinished = folder / f".unpacking-{split}"
        shutil.rmtree(unfinished, ignore_errors=True)
        if not (folder / split).is_dir():
            parse(str(folder), folder=unfinished.name)
            unfinished.rename(folder / split)
