"""Images on disk as a source of micro-batches: read, decoded and cropped in worker processes, in any order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from search_spaces import InputError
from trials.dataset import Labels
from trials.retrain.archives import has_archives, unpack
from trials.retrain.batching import Order, Part, shuffled
from trials.retrain.classification_recipe import ClassificationRecipe, ImageNetConfig
from trials.retrain.crops import MEAN, STD, normalised, scoring_transform, train_size, training_transform
from trials.retrain.decoding import decode, jpeg_decoder
from trials.retrain.draws import drawn_for
from trials.retrain.fitting import fitted
from trials.retrain.image_cache import cached
from trials.retrain.image_files import ImageFiles, ImageSet, find_folders
from trials.retrain.place import Place
from trials.retrain.reading import read_ahead
from trials.retrain.shards import find_shards
from trials.retrain.task import Setting

_STREAM = 22
"""Keeps the random numbers of crops and policies apart from others of the same seed."""
SCORED_AT_A_TIME = 256


class Images(Protocol):
    """The decoded images of a split."""

    @property
    def labels(self) -> Labels: ...

    def load(self, number: int) -> Tensor:
        """Return an image, (3, H, W), uint8. Raises InputError, with its name."""
        ...


@dataclass(frozen=True, eq=False)
class DecodedFiles:
    """Images that are decoded when they are asked for."""

    files: ImageFiles
    with_pillow: bool = False

    @property
    def labels(self) -> Labels:
        """The classes of the images."""
        return self.files.labels

    def load(self, number: int) -> Tensor:
        """Return an image. Raises InputError."""
        return decode(self.files.read(number), self.files.name(number), with_pillow=self.with_pillow)


def find_images(folder: Path, place: Place) -> ImageSet:
    """Return the images of a folder in any of the layouts. Raises InputError: none of them, or damaged."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images; give --data-dir, or `data: {{dir: ...}}` in the recipe")
    if not (folder / "train").is_dir() and has_archives(folder):
        unpack(folder, place)
    found = find_folders(folder) or find_shards(folder)
    if found is None:
        raise InputError(
            f"{folder}: holds no images in a known layout. Allowed:\n"
            "  - train/<class>/*.JPEG and val/<class>/*.JPEG\n"
            "  - ImageNet's archives: ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz\n"
            "  - WebDataset shards: train/*.tar and val/*.tar with <key>.jpg and <key>.cls"
        )
    return found


@dataclass(frozen=True, eq=False)
class TrainingReader:
    """Reads a micro-batch to train on, in whatever process."""

    images: Images
    recipe: ClassificationRecipe
    seed: int

    def __call__(self, part: Part) -> tuple[Tensor, Tensor]:
        """Return crops (B, 3, S, S), uint8, and their classes (B,)."""
        size = train_size(self.recipe.crop, part.epoch)
        transform = training_transform(self.recipe.crop, self.recipe.augment, size)
        x_BCHW = torch.empty(len(part.items), 3, size, size, dtype=torch.uint8)
        for place, (slot, item) in enumerate(zip(part.slots, part.items.tolist(), strict=True)):
            image = self.images.load(item)
            with drawn_for(self.seed, _STREAM, part.epoch, slot):
                x_BCHW[place] = transform(image)
        return x_BCHW, torch.from_numpy(self.images.labels[part.items])


@dataclass(frozen=True, eq=False)
class ScoringReader:
    """Reads a micro-batch to score on."""

    images: Images
    recipe: ClassificationRecipe

    def __call__(self, part: Part) -> tuple[Tensor, Tensor]:
        """Return central crops (B, 3, S, S), uint8, and their classes (B,)."""
        transform = scoring_transform(self.recipe.crop)
        x_BCHW = torch.stack([transform(self.images.load(item)) for item in part.items.tolist()])
        return x_BCHW, torch.from_numpy(self.images.labels[part.items])


@dataclass(frozen=True, eq=False)
class RawReader:
    """Reads the encoded images of a micro-batch, in whatever process, for the GPU to decode."""

    files: ImageFiles

    def __call__(self, part: Part) -> tuple[list[Tensor], Tensor]:
        """Return encoded images, one-dimensional, uint8, and their classes (B,)."""
        data = [torch.frombuffer(bytearray(self.files.read(item)), dtype=torch.uint8) for item in part.items.tolist()]
        return data, torch.from_numpy(self.files.labels[part.items])


class DiskImages:
    """ImageNet, or anything that lies on disk as it does.

    Args:
        config: where.
        recipe: what is done to the images.
        setting: for which training.

    Raises:
        InputError: the images are missing or damaged, or the host is made for others.
    """

    split: str = "val"

    def __init__(self, config: ImageNetConfig, recipe: ClassificationRecipe, setting: Setting) -> None:
        folder = (setting.data_dir or Path(config.dir)).expanduser()
        found = find_images(folder, setting.place)
        self.architecture = fitted(setting.architecture, len(found.classes), recipe.crop.eval_size)
        self.classes, self.sha256 = found.classes, found.sha256
        self.mean: tuple[float, ...] = MEAN
        self.std: tuple[float, ...] = STD
        self._recipe, self._setting = recipe, setting
        device = setting.place.device
        self._mean, self._std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
        self._train, self._val = self._images(config, folder, found)
        self._raw = RawReader(found.train) if config.decoder == "nvjpeg" else None
        if self._raw and (device.type != "cuda" or config.cache is not None):
            raise InputError("`decoder: nvjpeg` needs a CUDA device, and no `cache`, whose images are decoded already")

    @property
    def num_items(self) -> int:
        """Training images."""
        return len(self._train.labels)

    def order(self, epoch: int) -> Order:
        """Return the images in the order of an epoch; with repeated augmentation, copies stand together."""
        repeats = self._recipe.augment.repeats
        order = shuffled(self.num_items, self._setting.seed, epoch)
        return np.repeat(order[: len(order) // repeats], repeats)

    def batches(self, parts: Sequence[Part]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised crops and their classes, on the device."""
        if self._raw is not None:
            return self._decoded_on_device(self._raw, parts)
        return self._on_device(TrainingReader(self._train, self._recipe, self._setting.seed), parts)

    def scored(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of this process's share to score on."""
        mine = np.array(self._setting.place.share(len(self._val.labels)), dtype=np.int64)
        starts = range(0, len(mine), SCORED_AT_A_TIME)
        parts = [
            Part(0, range(start, min(start + SCORED_AT_A_TIME, len(mine))), mine[start : start + SCORED_AT_A_TIME])
            for start in starts
        ]
        return self._on_device(ScoringReader(self._val, self._recipe), parts)

    def _images(self, config: ImageNetConfig, folder: Path, found: ImageSet) -> tuple[Images, Images]:
        with_pillow = config.decoder == "pillow"
        train, val = DecodedFiles(found.train, with_pillow), DecodedFiles(found.val, with_pillow)
        if config.cache is None:
            return train, val
        where, setting = folder / f".decoded-{config.cache}-{found.sha256[:12]}", self._setting
        return (
            cached(train, where / "train", config.cache, setting.place, setting.workers),
            cached(val, where / "val", config.cache, setting.place, setting.workers),
        )

    def _on_device(
        self, read: TrainingReader | ScoringReader, parts: Sequence[Part]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = self._setting.place.device
        for x_BCHW, labels in read_ahead(read, parts, self._setting.workers, pin_memory=device.type == "cuda"):
            moved, known = x_BCHW.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            yield normalised(moved, self._mean, self._std), known

    def _decoded_on_device(self, read: RawReader, parts: Sequence[Part]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `TrainingReader` reads, decoded and cropped by the GPU: alike, but not bit for bit."""
        device = self._setting.place.device
        for part, (data, labels) in zip(parts, read_ahead(read, parts, self._setting.workers), strict=True):
            size = train_size(self._recipe.crop, part.epoch)
            transform = training_transform(self._recipe.crop, self._recipe.augment, size)
            crops = []
            for slot, image in zip(part.slots, self._on_gpu(read.files, part, data), strict=True):
                with drawn_for(self._setting.seed, _STREAM, part.epoch, slot):
                    crops.append(transform(image))
            yield normalised(torch.stack(crops), self._mean, self._std), labels.to(device)

    def _on_gpu(self, files: ImageFiles, part: Part, data: list[Tensor]) -> list[Tensor]:
        """Decode a micro-batch; what nvJPEG does not read (a PNG, CMYK) is decoded on the CPU."""
        device = self._setting.place.device
        try:
            decoded: list[Tensor] = jpeg_decoder()(data, device=device)
            return decoded
        except RuntimeError:
            pairs = zip(data, part.items.tolist(), strict=True)
            return [decode(each.numpy().tobytes(), files.name(item)).to(device) for each, item in pairs]
