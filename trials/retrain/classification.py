"""Classification as a task of the engine: images from disk or memory, mixtures, top-1 and top-5."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import InputError
from trials.retrain.batching import Order, Part
from trials.retrain.classification_recipe import ClassificationRecipe, ImageNetConfig
from trials.retrain.disk_images import DiskImages
from trials.retrain.memory_images import MemoryImages
from trials.retrain.mixing import Mixer, classification_loss
from trials.retrain.task import Metric, Setting

_TOP = 5


@dataclass(frozen=True)
class Images:
    """A micro-batch on the device."""

    images: Tensor
    """(B, C, H, W), normalised, float32."""
    targets: Tensor
    """Classes (B,), or after a mixture shares of them (B, K)."""


class Source(Protocol):
    """Where the images come from."""

    split: str
    """The name of what is scored."""
    classes: tuple[str, ...]
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def num_items(self) -> int: ...

    def order(self, epoch: int) -> Order: ...

    def batches(self, parts: Sequence[Part]) -> Iterator[tuple[Tensor, Tensor]]: ...

    def scored(self) -> Iterator[tuple[Tensor, Tensor]]: ...


class Classification:
    """Trains and scores a classifier, as `trials.retrain.task.Task` says.

    Args:
        recipe: how.
        setting: what, and in which process.

    Raises:
        InputError: the images are missing or damaged, or the host is made for others, or is no classifier.
    """

    metric = Metric("top1")

    def __init__(self, recipe: ClassificationRecipe, setting: Setting) -> None:
        host = setting.architecture.host
        if host.head != "classify":
            raise InputError(f"the host {host.name} has `head: {host.head}`; this recipe trains classifiers")
        if setting.backbone is not None:
            raise InputError("--backbone is for recipes of detection and segmentation: classifiers start from scratch")
        self._recipe, self._setting = recipe, setting
        self.architecture = setting.architecture
        data = recipe.data
        self._source: Source = (
            DiskImages(data, recipe, setting)
            if isinstance(data, ImageNetConfig)
            else MemoryImages(data, recipe, setting)
        )
        self._mixer = Mixer(recipe.augment, len(self._source.classes), setting.seed, recipe.num_epochs)

    @property
    def split(self) -> str:
        """`val` of images on disk, `test` of those in memory."""
        return self._source.split

    @property
    def num_items(self) -> int:
        """Training images."""
        return self._source.num_items

    @property
    def data_sha256(self) -> str:
        """What identifies the images."""
        return self._source.sha256

    @property
    def metadata(self) -> dict[str, str]:
        """The names of the classes, and what images are normalised with."""
        source = self._source
        return {name: json.dumps(getattr(source, name)) for name in ("classes", "mean", "std")}

    def build(self) -> nn.Module:
        """Return the untrained network."""
        return self._setting.architecture.build(self._setting.seed)

    def order(self, epoch: int) -> Order:
        """Return the images in the order of an epoch."""
        return self._source.order(epoch)

    def batches(self, parts: Sequence[Part]) -> Iterator[Images]:
        """Yield micro-batches with their mixtures."""
        batches = self._source.batches(parts)
        for part, (x_BCHW, labels) in zip(parts, batches, strict=True):
            yield Images(*self._mixer(x_BCHW, labels, part.epoch, part.slots.start))

    def loss(self, model: nn.Module, batch: Images) -> Tensor:
        """Return the mean loss of a micro-batch."""
        logits: Tensor = model(batch.images)
        with torch.autocast(batch.images.device.type, enabled=False):
            return classification_loss(logits.float(), batch.targets, self._recipe.loss)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return `top1` and `top5` as fractions, and `loss`: log-loss in nats, without label smoothing."""
        sums = torch.zeros(4, dtype=torch.float64, device=self._setting.place.device)
        for x_BCHW, labels in self._source.scored():
            logits = model(x_BCHW).float()
            if self._recipe.crop.eval_flip:
                logits = (logits + model(x_BCHW.flip(3)).float()) / 2
            sums += _counted(logits, labels)
        top1, top5, loss, total = self._setting.place.add_up(sums).tolist()
        return {"top1": top1 / total, "top5": top5 / total, "loss": loss / total}


def _counted(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many are right with one guess and with five, the summed loss, and how many there are."""
    finite = logits.isfinite().all(1, keepdim=True)  # else the largest of them is anything
    hits = (logits.topk(min(_TOP, logits.shape[1]), 1).indices == labels[:, None]) & finite
    loss = F.cross_entropy(logits, labels, reduction="sum")
    total = torch.full_like(loss, len(labels))
    return torch.stack([hits[:, 0].sum().float(), hits.sum().float(), loss, total]).double()
