"""The images of a training in full, scored as it scored them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from search_spaces import Architecture
from search_spaces.errors import InputError
from search_spaces.yaml_files import Document
from trials.devices import pick_precision
from trials.retrain import Place, Recipe, read_record
from trials.retrain.batching import Part
from trials.retrain.folder import ARCHITECTURE
from trials.retrain.learner import moved
from trials.retrain.reading import num_workers
from trials.retrain.recipes import parse_recipe
from trials.retrain.scoring import score
from trials.retrain.task import Setting, Task

if TYPE_CHECKING:
    from trials.retrain.classification import Classification

_AT_A_TIME = 32


@dataclass(frozen=True)
class RetrainedImages:
    """What it takes to find the images of one training in full."""

    folder: Path
    """That the training has written."""
    data_dir: Path | None

    @property
    def identity(self) -> dict[str, Any]:
        """Both as plain data."""
        return {"folder": str(self.folder.resolve()), "data_dir": str(self.data_dir) if self.data_dir else None}

    @staticmethod
    def restore(identity: dict[str, Any]) -> "RetrainedImages":
        """Return what `identity` tells."""
        data_dir = identity["data_dir"]
        return RetrainedImages(Path(identity["folder"]), Path(data_dir) if data_dir else None)

    def score(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the metrics of the task."""
        place = Place(device)
        task, recipe = self._task(place)
        return score(task, moved(model, recipe, place), place, pick_precision(recipe.precision, device))

    def held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images that the training was scored on, with their labels."""
        yield from self._classification().held_out()

    def training(self, count: int) -> Iterator[Tensor]:
        """Yield training images as the first epoch shows them, augmented."""
        task = self._classification()
        items = task.order(1)[:count]
        ends = range(0, len(items), _AT_A_TIME)
        slots = [range(start, min(start + _AT_A_TIME, len(items))) for start in ends]
        for batch in task.batches([Part(1, each, items[each.start : each.stop]) for each in slots]):
            yield batch.images

    def _classification(self) -> "Classification":
        from trials.retrain.classification import Classification  # and with it torchvision, slow to import

        task, _ = self._task(Place(torch.device("cpu")))
        if not isinstance(task, Classification):
            raise InputError("its images do not have one class each")
        return task

    def _task(self, place: Place) -> tuple[Task[Any], Recipe]:
        record = read_record(self.folder)
        recipe = parse_recipe(Document(record.recipe, str(self.folder)))
        precision = pick_precision(recipe.precision, place.device)
        architecture = Architecture.load(self.folder / ARCHITECTURE)
        workers = num_workers(None, place)
        setting = Setting(architecture, record.seed, place, precision, self.data_dir, workers)
        return recipe.prepare(setting), recipe
