"""Training one of torchvision's detectors: the task that the retraining engine asks for batches, losses and scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces import InputError
from trials.detection.annotated_images import AnnotatedImages
from trials.detection.backbone_weights import load_backbone
from trials.detection.coco_files import read_coco, read_truth
from trials.detection.coco_precision import coco_precision
from trials.detection.detection_recipe import CocoConfig, DetectionRecipe, VocConfig
from trials.detection.evaluator import coco_library
from trials.detection.found import Found
from trials.detection.freezing import fixed_batch_norms, freeze_stages
from trials.detection.grouping import grouped
from trials.detection.to_detector import with_head
from trials.detection.training_images import Target, TrainingImages, learnable, read_matching
from trials.detection.voc_files import read_voc
from trials.detection.voc_precision import voc_precision
from trials.retrain.batching import Order, Part
from trials.retrain.reading import read_ahead
from trials.retrain.task import Metric, Setting


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on the device with what is in them."""

    images: list[Tensor]
    """Each (3, H, W), float32 in [0, 1]."""
    targets: list[Target]
    """As torchvision's detectors want them."""
    seed: int
    """Of what the detector draws: scales, proposals to learn from."""


class Detection:
    """A detector over an architecture's backbone and pyramid; see `trials.retrain.task.Task`.

    Raises:
        InputError: the data are missing or damaged, or the architecture does not fit them or the detector.
    """

    def __init__(self, recipe: DetectionRecipe, setting: Setting) -> None:
        self._recipe, self._setting = recipe, setting
        folder = setting.data_dir or Path(recipe.data.dir)
        self._train, self._val = _read_images(recipe, folder)
        self._truth_file = folder / recipe.data.val_annotations if isinstance(recipe.data, CocoConfig) else None
        if self._truth_file:
            coco_library()  # so that it is missed now, not after an epoch
        self.architecture, self.left = with_head(
            setting, recipe.head, len(self._train.classes) + 1, recipe.size, partial=recipe.partial
        )
        self._check_classes()
        positions = learnable(self._train)
        if not positions:
            raise InputError(f"{self._train.source}: no image has an object to learn from")
        self._reader = TrainingImages(
            self._train, positions, isinstance(recipe.data, VocConfig), recipe.flip, setting.seed
        )
        self._fixed: list[nn.Module] = []

    @property
    def metric(self) -> Metric:
        """Average precision over IoUs from 0.50 to 0.95, of masks where there are some; of VOC at 0.50."""
        return Metric("ap50" if self._truth_file is None else "mask_ap" if self._masks else "ap")

    @property
    def split(self) -> str:
        """VOC's test set, or COCO's validation set, whose test set is not published."""
        return "test" if self._truth_file is None else "val"

    @property
    def num_items(self) -> int:
        """Training images that have something to learn from."""
        return len(self._reader.positions)

    @cached_property
    def data_sha256(self) -> str:
        """The hash of all annotations."""
        return f"{self._train.digest()}-{self._val.digest()}"

    @property
    def metadata(self) -> Mapping[str, str]:
        """The names of the classes from 1 on, what the data's files number them as, and sites that were left out."""
        told = {"classes": self._train.classes, "category_ids": self._train.category_ids, "left": self.left}
        return {name: json.dumps(each) for name, each in told.items()}

    @property
    def _masks(self) -> bool:
        return self._recipe.head == "maskrcnn"

    def build(self) -> nn.Module:
        """Return the detector, its backbone with the weights to start from, and what is not trained of it frozen."""
        recipe, backbone = self._recipe, self._setting.backbone
        network = self.architecture.build(self._setting.seed)
        if backbone:
            load_backbone(network, self.architecture, backbone)
        trained = backbone is not None
        freeze_stages(network, self.architecture, recipe.frozen_stages, attention=trained)
        self._fixed = fixed_batch_norms(network, self.architecture, recipe.batch_norm, attention=trained)
        _set_sizes(network, recipe)
        return network

    def order(self, epoch: int) -> Order:
        """Return the images in an order in which those of a batch are all upright or all not."""
        sizes = self._train.sizes[self._reader.positions]
        return grouped(sizes[:, 0] > sizes[:, 1], self._recipe.batch_size, self._setting.seed, epoch)

    def batches(self, parts: Sequence[Part]) -> Iterator[Batch]:
        """Yield the images of each part, read ahead by other processes."""
        device = self._setting.place.device
        pinned = device.type == "cuda"
        for images, targets, seed in read_ahead(self._reader.read, parts, self._setting.workers, pin_memory=pinned):
            yield Batch(
                [image.to(device, non_blocking=True).float() / 255 for image in images],
                [{name: each.to(device, non_blocking=True) for name, each in target.items()} for target in targets],
                seed,
            )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum of the detector's losses."""
        for norm in self._fixed:
            norm.eval()
        torch.manual_seed(batch.seed)  # torchvision's detectors draw from the global generator
        losses: dict[str, Tensor] = model(batch.images, batch.targets)
        return torch.stack([each.float() for each in losses.values()]).sum()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return the average precisions of all processes' images together."""
        place = self._setting.place
        mine = [self._detect(model, position, image) for position, image in self._val_images()]
        found = [Found(**each) for part in place.gather_json([one.to_dict() for one in mine]) for each in part]
        # One process computes, all have the result.
        scores: dict[str, float] = place.gather_json(self._score(found) if place.is_first else {})[0]
        return scores

    def _val_images(self) -> Iterator[tuple[int, Tensor]]:
        share = self._setting.place.share(len(self._val))
        parts = [Part(0, range(position, position + 1), np.array([position])) for position in share]
        images = read_ahead(self._read_val, parts, self._setting.workers)
        return zip(share, images, strict=True)

    def _read_val(self, part: Part) -> Tensor:
        return read_matching(self._val, int(part.items[0]))

    def _detect(self, model: nn.Module, position: int, image: Tensor) -> Found:
        (output,) = model([image.to(self._setting.place.device).float() / 255])
        return Found.of(position, output)

    def _score(self, found: Sequence[Found]) -> dict[str, float]:
        if self._truth_file is None:
            return voc_precision(self._val, found)
        truth = read_truth(self._truth_file)
        scores = coco_precision(truth, self._val, found, "bbox")
        return scores | (coco_precision(truth, self._val, found, "segm") if self._masks else {})

    def _check_classes(self) -> None:
        train, val = self._train, self._val
        if train.classes != val.classes or train.category_ids != val.category_ids:
            raise InputError(
                f"{val.source} has other classes than {train.source}: {_listed(val.classes)}, not "
                f"{_listed(train.classes)}; both files must list the same categories"
            )
        counted, classes = self.architecture.host.classes, len(train.classes) + 1
        if counted != classes:
            raise InputError(
                f"the architecture says `classes: {counted}`, {train.source} has {len(train.classes)} and the "
                f"background; write `classes: {classes}` in its host, or give the architecture without a detector, for "
                "which the data decide"
            )
        if not len(val.labels):
            raise InputError(f"{val.source}: has no object, so there is nothing to score")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{len(names)} ({shown}{', ...' if len(names) > 5 else ''})"


def _read_images(recipe: DetectionRecipe, folder: Path) -> tuple[AnnotatedImages, AnnotatedImages]:
    """Return the images to train on and those to score."""
    data = recipe.data
    if isinstance(data, VocConfig):
        train = read_voc(folder, data.train)
        return train, read_voc(folder, [data.val], train.classes)
    outlines = recipe.head == "maskrcnn"
    train = read_coco(folder / data.train_images, folder / data.train_annotations, outlines=outlines)
    return train, read_coco(folder / data.val_images, folder / data.val_annotations, outlines=outlines)


def _set_sizes(network: Any, recipe: DetectionRecipe) -> None:
    """Set sizes of images and numbers of regions on one of torchvision's detectors."""
    network.transform.min_size = tuple(recipe.multi_scale) or (recipe.size,)
    network.transform.max_size = recipe.longest
    if recipe.head in ("fasterrcnn", "maskrcnn"):
        proposals = recipe.proposals
        network.rpn._post_nms_top_n = {"training": proposals.train, "testing": proposals.test}
        network.rpn._pre_nms_top_n = {"training": proposals.train, "testing": proposals.test}
        network.roi_heads.fg_bg_sampler.batch_size_per_image = proposals.sampled
