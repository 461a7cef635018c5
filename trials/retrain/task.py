"""What the engine needs to know of a task: classification, detection, segmentation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor, nn

from search_spaces import Architecture
from trials.devices import Precision
from trials.retrain.batching import Order, Part
from trials.retrain.place import Place

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Metric:
    """The number that a task is judged by, one of those that `evaluate` returns."""

    name: str
    maximise: bool = True


@dataclass(frozen=True)
class Setting:
    """What a task is prepared for, beside its recipe."""

    architecture: Architecture
    seed: int
    """Not negative."""
    place: Place
    precision: Precision
    """That the engine's autocast computes in; `evaluate` is under it too."""
    data_dir: Path | None = None
    """In place of the recipe's folder of images."""
    workers: int = 0
    """Processes that read images for this one; 0: it reads them itself."""
    backbone: Path | None = None
    """Weights to start the backbone from; a task that has no use for them refuses them."""


class Task(Protocol[BatchT]):
    """Data and network of one training, in one process of it. Raises InputError for what a user got wrong."""

    @property
    def metric(self) -> Metric: ...

    @property
    def split(self) -> str:
        """The name of the split that `evaluate` scores, such as `val`."""
        ...

    @property
    def num_items(self) -> int:
        """Training items, each counted once."""
        ...

    @property
    def data_sha256(self) -> str:
        """What identifies the data: a checkpoint of other data is refused."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What it takes to use the weights, such as the names of the classes, for the file of weights."""
        ...

    def build(self) -> nn.Module:
        """Return the untrained network on the CPU, the same in every process."""
        ...

    def order(self, epoch: int) -> Order:
        """Return the items in the order that an epoch (from 1) shows them in, from seed and epoch alone.

        It is as long in every epoch, and may show an item more than once; `batching.shuffled` shows each once.
        """
        ...

    def batches(self, parts: Sequence[Part]) -> Iterator[BatchT]:
        """Yield a micro-batch on the device for each part, in their order.

        What is drawn depends on seed, epoch and slot alone (`batching.slot_rng`), so that it is the same wherever the
        sequence starts. What reads ahead stops when the iterator is closed.
        """
        ...

    def loss(self, model: nn.Module, batch: BatchT) -> Tensor:
        """Return the mean loss of a micro-batch, a float32 scalar; called under autocast, `model` in training mode.

        `model` is what `build` returned, on the device, possibly compiled and in DistributedDataParallel: call it once.
        """
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return named metrics on the split, the same in every process; called in all of them.

        `model` is the bare network on the device, in evaluation mode; the caller has `inference_mode` on and sets the
        mode back.
        """
        ...
