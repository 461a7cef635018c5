"""A retrained network from its folder, and its score once more."""

from pathlib import Path

from torch import nn

from search_spaces import Architecture
from search_spaces.yaml_files import Document
from trials.devices import pick_device, pick_precision
from trials.retrain.folder import ARCHITECTURE, WEIGHTS, read_record
from trials.retrain.learner import moved
from trials.retrain.place import Place
from trials.retrain.reading import num_workers
from trials.retrain.recipes import parse_recipe
from trials.retrain.scoring import score
from trials.retrain.task import Setting
from trials.weights import load_weights


def load_retrained(folder: Path) -> nn.Module:
    """Return the trained network of a folder that `retrain` has written, on the CPU, in evaluation mode.

    Raises:
        InputError: the training has not come to its end, or its files are missing or damaged.
    """
    record = read_record(folder)
    model = Architecture.load(folder / ARCHITECTURE).build(record.seed)
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def evaluate_retrained(
    folder: Path, data_dir: Path | None = None, *, device: str = "auto", workers: int | None = None
) -> dict[str, float]:
    """Score a retrained network again, as it was scored at the end of its training.

    On the same kind of device with the same images the metrics are those of the record. (Of a training in several
    processes the log-loss may differ in its last bits: sums are added up in another order.)

    Args:
        folder: that `retrain` has written.
        data_dir: in place of the recipe's folder of images.
        device: as in `Job`.
        workers: as in `Job`.

    Raises:
        InputError: the training has not come to its end, or files or images are missing or damaged.
    """
    record = read_record(folder)
    recipe = parse_recipe(Document(record.recipe, str(folder)))
    place = Place(pick_device(device))
    precision = pick_precision(recipe.precision, place.device)
    architecture = Architecture.load(folder / ARCHITECTURE)
    setting = Setting(architecture, record.seed, place, precision, data_dir, num_workers(workers, place))
    task = recipe.prepare(setting)
    model = task.build()
    load_weights(model, folder / WEIGHTS)
    return score(task, moved(model, recipe, place), place, precision)
