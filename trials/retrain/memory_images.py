"""Images in the device's memory as a source of micro-batches, augmented there as a trial's are."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from search_spaces import InputError
from trials.augmentation import EpochPlan, alter, augment, plan_epoch
from trials.data import augmentation, check_images, load_data
from trials.device_data import on_device
from trials.retrain.batching import Order, Part
from trials.retrain.classification_recipe import ClassificationRecipe, MemoryConfig
from trials.retrain.crops import policy
from trials.retrain.draws import drawn_for
from trials.retrain.fitting import fitted
from trials.retrain.task import Setting

_STREAM = 23
"""Keeps the random numbers of policies apart from others of the same seed."""
SCORED_AT_A_TIME = 500


class MemoryImages:
    """CIFAR, digits, or a folder of small images; all training images are trained on, the test images scored.

    Args:
        config: which.
        recipe: what is done to them.
        setting: for which training.

    Raises:
        InputError: the images are missing or damaged, or the host is made for others.
    """

    split: str = "test"

    def __init__(self, config: MemoryConfig, recipe: ClassificationRecipe, setting: Setting) -> None:
        if recipe.augment.repeats > 1 or recipe.augment.erasing:
            raise InputError("`repeats` and `erasing` are for images on disk; of images in memory, `cutout` is cut out")
        given = config.of_trials
        if setting.data_dir is not None:
            given = given.model_copy(update={"dir": str(setting.data_dir)})
        dataset = load_data(given)
        self.architecture = setting.architecture
        if dataset.channels == 3:
            self.architecture = fitted(setting.architecture, len(dataset.classes), dataset.size)
        check_images(self.architecture.host, dataset)
        self._how = augmentation(given, dataset.size)
        self._policy = policy(recipe.augment)
        if self._policy and dataset.channels != 3:
            raise InputError("an augmentation `policy` is for colour images; these are grey")
        self.classes, self.sha256, (self.mean, self.std) = dataset.classes, dataset.sha256, dataset.mean_std
        self._setting, device = setting, setting.place.device
        self._train, self._test = on_device(dataset, device, "train"), on_device(dataset, device, "test")
        self._plan = lru_cache(maxsize=2)(self._draw)

    @property
    def num_items(self) -> int:
        """Training images."""
        return len(self._train.labels)

    def order(self, epoch: int) -> Order:
        """Return the images in the order of an epoch."""
        return self._plan(epoch).order.cpu().numpy()

    def batches(self, parts: Sequence[Part]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and their classes."""
        for part in parts:
            batch = self._plan(part.epoch).batch(part.slots.start, len(part.slots))
            x_BCHW = self._changed(augment(self._train.images, batch, self._how), part)
            yield alter(self._train.normalise(x_BCHW), batch, self._how), self._train.labels[batch.order]

    def scored(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of this process's share to score on."""
        mine = torch.tensor(self._setting.place.share(len(self._test.labels)), device=self._test.labels.device)
        for batch in torch.split(mine, SCORED_AT_A_TIME):
            yield self._test.normalise(self._test.images[batch]), self._test.labels[batch]

    def _draw(self, epoch: int) -> EpochPlan:
        index = np.arange(self.num_items)
        return plan_epoch(index, self._how, self._setting.seed, epoch, self._setting.place.device)

    def _changed(self, x_BCHW: Tensor, part: Part) -> Tensor:
        """Apply the policy, image by image: each has its own random numbers."""
        if self._policy is None:
            return x_BCHW
        changed = []
        for slot, image in zip(part.slots, x_BCHW, strict=True):
            with drawn_for(self._setting.seed, _STREAM, part.epoch, slot):
                changed.append(self._policy(image))
        return torch.stack(changed)
