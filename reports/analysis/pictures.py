"""The images that an analysis looks at: a fixed choice of a data set, in batches as the network was trained on them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from search_spaces.errors import InputError, unknown
from trials.dataset import Dataset, Images, Labels
from trials.splits import Index, split, stratified

Part = Literal["validation", "test"]
Tick = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is to do."""


def no_tick(what: str, done: int, total: int) -> None:
    """Tell no one."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some images of one part of a data set, each with one class."""

    dataset: Dataset
    part: Part
    index: Index
    """Their positions in that part, sorted."""
    num_in_part: int
    mean: tuple[float, ...]
    """Per channel, of images in [0, 1]: what the network was trained with."""
    std: tuple[float, ...]
    batch_size: int = 64

    def __len__(self) -> int:
        return len(self.index)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.dataset.classes

    @property
    def in_words(self) -> str:
        """Which images they are."""
        every = "all" if len(self) == self.num_in_part else f"{len(self):,} of"
        return f"{every} {self.num_in_part:,} {self.part} images"

    @property
    def labels(self) -> Labels:
        """The numbers of their classes, (N,)."""
        labels: Labels = self._labels[self.index].astype(np.int64)
        return labels

    def pixels(self, positions: Sequence[int] | Index) -> Images:
        """Return images by their positions among these, (n, C, H, W)."""
        return np.ascontiguousarray(self._images[self.index[np.asarray(positions, dtype=np.int64)]])

    def normalised(self, positions: Sequence[int] | Index, device: torch.device) -> Tensor:
        """Return images by their positions among these as a network reads them, (n, C, H, W), float32."""
        images = torch.from_numpy(self.pixels(positions)).to(device, torch.float32) / 255
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std

    def batches(
        self, device: torch.device, tick: Tick, what: str, most: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and the numbers of their classes, of the first `most` images or of all."""
        total = len(self) if most is None else min(most, len(self))
        # Not in the order of the classes, so that the first are of all of them.
        order = np.random.default_rng(0).permutation(len(self))[:total]
        labels = self.labels
        for start in range(0, total, self.batch_size):
            tick(what, start, total)
            chosen = order[start : start + self.batch_size]
            yield self.normalised(chosen, device), torch.from_numpy(labels[chosen]).to(device)
        tick(what, total, total)

    def class_numbers(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of classes by their names. Raises InputError for an unknown one."""
        for name in names:
            if name not in self.classes:
                raise unknown("class", name, self.classes)
        return [self.classes.index(name) for name in names]

    @property
    def _images(self) -> Images:
        return self.dataset.images if self.part == "validation" else self.dataset.test_images

    @property
    def _labels(self) -> Labels:
        labels = self.dataset.labels if self.part == "validation" else self.dataset.test_labels
        return labels.astype(np.int64, copy=False)


def choose_pictures(
    dataset: Dataset,
    part: Part,
    num: int,
    *,
    validation: int | None = None,
    seed: int = 0,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    batch_size: int | None = None,
) -> Pictures:
    """Return `num` images of a part, the same share of every class, or all where there are no more; always the same.

    Args:
        dataset: with one class for each image.
        part: `validation`: the images that a training with this seed held out.
        num: at most so many.
        validation: how many a training held out (`part: validation` only).
        seed: of that training.
        normalisation: mean and standard deviation that the network was trained with; default the data set's.
        batch_size: images at a time; default 64, and fewer of more than 64 x 64 pixels, as far as memory wants it.

    Raises:
        InputError: the part holds no image, classes of pixels, or a split that is impossible.
    """
    if dataset.task != "classify":
        raise InputError("these analyses need one class for each image; the images of `scenes` have one for each pixel")
    if part == "validation":
        if validation is None:
            raise InputError(
                "how many images were held out is not known; add `validation` to --data, or take --part test"
            )
        index = split(dataset, validation, None, seed)[1]
        labels = dataset.labels[index]
    else:
        index = np.arange(len(dataset.test_labels))
        labels = dataset.test_labels
    if not len(index):
        raise InputError(f"the data set has no {part} images")
    if num < len(index):
        (chosen,) = stratified(labels.astype(np.int64), (num,), np.random.default_rng(0))
    else:
        chosen = np.arange(len(index))
    mean, std = normalisation or dataset.mean_std
    size = batch_size or max(4, min(64, 64**3 // dataset.size**2))
    return Pictures(dataset, part, index[chosen], len(index), mean, std, size)
