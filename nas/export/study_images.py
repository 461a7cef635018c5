"""The images of a study's trial: the split from its seed, scored as the trial scored them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trials import DataConfig, load_data, split
from trials.dataset import Dataset
from trials.device_data import DeviceData, on_device
from trials.devices import Precision
from trials.evaluate import evaluate_in_memory
from trials.splits import Index

_AT_A_TIME = 250


@dataclass(frozen=True)
class StudyImages:
    """What it takes to find the images of one trial."""

    data: DataConfig
    seed: int
    batch_size: int
    """At a time when they were scored: rounding can depend on it."""
    precision: Precision
    channels_last: bool

    @property
    def identity(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "data": self.data.model_dump(),
            "seed": self.seed,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "channels_last": self.channels_last,
        }

    @staticmethod
    def restore(identity: dict[str, Any]) -> "StudyImages":
        """Return what `identity` tells."""
        return StudyImages(**{**identity, "data": DataConfig.model_validate(identity["data"])})

    def score(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return `accuracy`, and `miou` where each pixel has a class."""
        dataset, (_, validation) = self._load()
        model = model.to(device)
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        data = on_device(dataset, device, "train")
        index = torch.from_numpy(validation).to(device)
        score = evaluate_in_memory(model, data, index=index, batch_size=self.batch_size, precision=self.precision)
        return {"accuracy": score.accuracy} | ({} if score.miou is None else {"miou": score.miou})

    def held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation images with their labels."""
        dataset, (_, validation) = self._load()
        data = on_device(dataset, torch.device("cpu"), "train")
        for part in torch.split(torch.from_numpy(validation), _AT_A_TIME):
            yield data.normalise(data.images[part]), data.labels[part]

    def training(self, count: int) -> Iterator[Tensor]:
        """Yield training images as they are, not augmented, spread over the split."""
        dataset, (training, _) = self._load()
        data: DeviceData = on_device(dataset, torch.device("cpu"), "train")
        index = torch.from_numpy(training)
        order = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))[:count]
        for part in torch.split(index[order], 32):
            yield data.normalise(data.images[part])

    def _load(self) -> tuple[Dataset, tuple[Index, Index]]:
        dataset = load_data(self.data)
        return dataset, split(dataset, self.data.validation, self.data.training, self.seed)
