"""Training a semantic segmentation: the task that the retraining engine asks for batches, losses and scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import InputError
from search_spaces.build import build_on_meta
from trials.detection.backbone_weights import load_backbone
from trials.detection.freezing import freeze_stages
from trials.detection.pixel_images import Cropping, Crops, count_classes, read_pixel_images
from trials.detection.segmentation_recipe import SegmentationRecipe
from trials.detection.to_detector import with_head
from trials.retrain.batching import Order, Part, shuffled
from trials.retrain.reading import read_ahead
from trials.retrain.task import Metric, Setting
from trials.segmentation import IGNORED, PixelTally


class Semantic:
    """A class for every pixel, by semantic FPN over an architecture's backbone; see `trials.retrain.task.Task`.

    Raises:
        InputError: the data are missing or damaged, or the architecture does not fit them.
    """

    def __init__(self, recipe: SegmentationRecipe, setting: Setting) -> None:
        self._recipe, self._setting = recipe, setting
        folder = setting.data_dir or Path(recipe.data.dir)
        self._train = read_pixel_images(folder, recipe.data.train)
        self._val = read_pixel_images(folder, [recipe.data.val])
        classes = recipe.data.classes or max(2, count_classes(self._train))
        self.architecture, self.left = with_head(setting, "segment", classes, recipe.size, partial=recipe.partial)
        if self.architecture.host.classes != classes:
            raise InputError(
                f"the architecture says `classes: {self.architecture.host.classes}`, {self._train.source} has "
                f"{classes} with the background; write `classes: {classes}` in its host, or give the architecture "
                "without a head, for which the data decide"
            )
        self._check_sizes()
        self._reader = Cropping(
            self._train, classes, recipe.size, (recipe.scale[0], recipe.scale[1]), recipe.flip, setting.seed
        )

    @property
    def metric(self) -> Metric:
        """Mean intersection over union; see `trials.segmentation`."""
        return Metric("miou")

    @property
    def split(self) -> str:
        """The set that is scored, such as `val`."""
        return self._recipe.data.val.partition("/")[2]

    @property
    def num_items(self) -> int:
        """Training images."""
        return len(self._train)

    @cached_property
    def data_sha256(self) -> str:
        """The hash of names and sizes of files."""
        return f"{self._train.digest()}-{self._val.digest()}"

    @property
    def metadata(self) -> Mapping[str, str]:
        """What images are normalised by, and sites that were left out."""
        told = {"mean": self._recipe.mean, "std": self._recipe.std, "left": self.left}
        return {name: json.dumps(each) for name, each in told.items()}

    def build(self) -> nn.Module:
        """Return the network, its backbone with the weights to start from, and what is not trained of it frozen."""
        network = self.architecture.build(self._setting.seed)
        backbone = self._setting.backbone
        if backbone:
            load_backbone(network, self.architecture, backbone)
        freeze_stages(network, self.architecture, self._recipe.frozen_stages, attention=backbone is not None)
        return network

    def order(self, epoch: int) -> Order:
        """Return each image once."""
        return shuffled(self.num_items, self._setting.seed, epoch)

    def batches(self, parts: Sequence[Part]) -> Iterator[Crops]:
        """Yield the crops of each part on the device, normalised, read ahead by other processes."""
        device = self._setting.place.device
        for images, labels in read_ahead(
            self._reader.read, parts, self._setting.workers, pin_memory=device.type == "cuda"
        ):
            yield self._normalised(images), labels.to(device, non_blocking=True).long()

    def loss(self, model: nn.Module, batch: Crops) -> Tensor:
        """Return the mean cross-entropy of the pixels that count; 0 if none does."""
        images, labels = batch
        logits = model(images).float()
        total = F.cross_entropy(
            logits, labels, ignore_index=IGNORED, label_smoothing=self._recipe.label_smoothing, reduction="sum"
        )
        return total / (labels != IGNORED).sum().clamp(min=1)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score whole images at their own size, one at a time."""
        place, classes = self._setting.place, self.architecture.host.classes
        tally = PixelTally(classes, place.device, by_size=False)
        parts = [Part(0, range(each, each + 1), np.array([each])) for each in place.share(len(self._val))]
        for image, labels in read_ahead(self._read_val, parts, self._setting.workers):
            tally.add(model(self._normalised(image[None])).float(), labels[None].to(place.device), None)
        score = tally.score(place.add_up)
        assert score.miou is not None, "an image has pixels"
        return {"miou": score.miou, "accuracy": score.accuracy, "loss": score.loss}

    def _read_val(self, part: Part) -> Crops:
        return self._val.read(int(part.items[0]), self.architecture.host.classes)

    def _normalised(self, images: Tensor) -> Tensor:
        device = self._setting.place.device
        mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (self._recipe.mean, self._recipe.std))
        return (images.to(device, non_blocking=True).float() / 255 - mean) / std

    def _check_sizes(self) -> None:
        """Refuse modules that are made for one size of map: whole images have many."""
        size, host = self._recipe.size, self.architecture.host
        network = build_on_meta(host, self.architecture.items).eval()
        try:
            network(torch.empty(1, host.channels, size, size * 5 // 3, device="meta"))
        except (InputError, RuntimeError) as error:
            raise InputError(f"whole images are scored, which have many sizes, and a module cannot: {error}") from None
