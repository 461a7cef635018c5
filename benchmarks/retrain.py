"""Time the loaders of `nas retrain`, its network, and both together, against torchvision's reference loop.

    python benchmarks/retrain.py --placement resnet50-ba    # on a GPU: ResNet-50 at 176 pixels, and with a placement
    python benchmarks/retrain.py --host resnet18 --size 96 --batch-size 16 --batches 8      # on a CPU

The reference is what torchvision's references/classification does by default: ImageFolder of Pillow images,
RandomResizedCrop, mirroring and normalisation in the workers of a DataLoader, SGD with momentum, the loss read at each
step. It trains the same network, in the same precision, with as many workers. Ours are the decoders that a recipe can
ask for (`data: {decoder: ...}`) and the cache of decoded images (`data: {cache: ...}`); `nvjpeg` where there is a GPU.

In a round everything has one turn: each loader alone, the network on one batch that stays on the device, each loader
with the network. A turn starts its workers anew; its clock starts when the first batch is there. Reported are medians
over the rounds with quartiles: images/s; `ratio`, that of both together over the reference in the same round; and
`lost`, the share of the network's own speed that is lost to loading, 1 - both / network. With `--placement` the same
network with that placement has its turns too: on one batch, with its speed over the bare network's in the same round,
and with torchvision's decoder.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_imagenet import make_imagenet
from measuring import Setting, about
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from nas.cli.architecture_commands import load_architecture
from search_spaces import Architecture, InputError
from search_spaces.transfer import transfer
from search_spaces.yaml_files import Document
from trials.devices import pick_device, pick_precision
from trials.retrain.batching import Part
from trials.retrain.classification import Classification, Images
from trials.retrain.crops import MEAN, STD
from trials.retrain.learner import Learner
from trials.retrain.place import Place
from trials.retrain.recipes import parse_recipe
from trials.retrain.task import Setting as TaskSetting

REFERENCE, NETWORK, PLACED = "reference", "network", "placed network"


class Bench:
    """One set of images and one network, and every way to bring them together."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.given, self.device = given, pick_device(given.device)
        self.precision = pick_precision("auto", self.device)
        self.folder = folder
        classes = len(list((folder / "train").iterdir()))
        self.architecture = Architecture.from_dict(
            {"host": {"name": given.host, "classes": classes, "input": given.size}, "placement": {}}
        )
        sources = {"torchvision": {}, "pillow": {"decoder": "pillow"}, "cached": {"cache": given.cache}}
        if self.device.type == "cuda":
            sources["nvjpeg"] = {"decoder": "nvjpeg"}
        self.tasks = {name: self._task(data) for name, data in sources.items()}
        self.learner = self._learner(self.architecture)
        self.placed = None if given.placement is None else self._learner(self._placement(given.placement))
        self.fixed = next(self._ours("torchvision", 1))

    def turns(self) -> dict[str, Callable[[], float]]:
        """Return what has a turn in each round, each giving images/s."""
        loaders = {REFERENCE: self._reference} | {name: lambda n, name=name: self._ours(name, n) for name in self.tasks}
        alone = {f"{name} alone": lambda load=load: self._timed(load, self._take) for name, load in loaders.items()}
        both = {
            f"{name} with network": lambda load=load, name=name: self._timed(load, self._steps[name == REFERENCE])
            for name, load in loaders.items()
        }
        placed = {
            PLACED: lambda: self._timed(self._repeated, self._learn_placed),
            f"{PLACED} with torchvision": lambda: self._timed(
                lambda n: self._ours("torchvision", n), self._learn_placed
            ),
        }
        network = {NETWORK: lambda: self._timed(self._repeated, self._learn)}
        return {**alone, **network, **both, **(placed if self.placed else {})}

    @property
    def _steps(self) -> tuple[Callable[[Any], None], Callable[[Any], None]]:
        return self._learn, self._learn_as_reference

    def _task(self, data: dict[str, Any]) -> Classification:
        given = self.given
        recipe = {
            "task": "classification", "source": "a benchmark", "epochs": 1, "batch_size": given.batch_size,
            "optimizer": {"lr": 0.01}, "data": {"source": "imagenet", **data},
            "crop": {"train_size": given.size, "eval_size": given.size, "eval_resize": given.size + 32},
            "compile": given.compile,
        }  # fmt: skip
        self.recipe = parse_recipe(Document(recipe))
        setting = TaskSetting(self.architecture, 0, Place(self.device), self.precision, self.folder, given.workers)
        return self.recipe.prepare(setting)

    def _placement(self, given: str) -> Architecture:
        """Return what stands where in a file or shipped placement, in the benchmark's host. Raises InputError."""
        moved = transfer(load_architecture(given), self.architecture.host)
        if moved.left:
            raise InputError(f"--placement {given}: not for {self.given.host}: {moved.left}")
        return moved.architecture

    def _learner(self, architecture: Architecture) -> Learner:
        task, place = self.tasks["torchvision"], Place(self.device)
        return Learner(architecture.build(), task, self.recipe, place, self.precision, compiled=self.given.compile)

    def _ours(self, name: str, num_batches: int) -> Iterator[Images]:
        task, size = self.tasks[name], self.given.batch_size
        order = np.resize(task.order(1), num_batches * size)
        parts = [
            Part(1, range(start, start + size), order[start : start + size]) for start in range(0, len(order), size)
        ]
        return task.batches(parts)

    def _reference(self, num_batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        transform = transforms.Compose([
            transforms.RandomResizedCrop(self.given.size), transforms.RandomHorizontalFlip(), transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float), transforms.Normalize(MEAN, STD),
        ])  # fmt: skip
        images = ImageFolder(str(self.folder / "train"), transform)
        sampler = torch.utils.data.RandomSampler(images, True, num_batches * self.given.batch_size)
        yield from DataLoader(
            images, self.given.batch_size, sampler=sampler, num_workers=self.given.workers,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip

    def _repeated(self, num_batches: int) -> Iterator[Images]:
        return (self.fixed for _ in range(num_batches))

    def _take(self, batch: Any) -> None:
        """Have a batch, as far as the device's queue goes."""

    def _learn(self, batch: Images) -> None:
        self.learner.step([batch], 1, 0.01)

    def _learn_placed(self, batch: Images) -> None:
        assert self.placed is not None
        self.placed.step([batch], 1, 0.01)

    def _learn_as_reference(self, batch: tuple[Tensor, Tensor]) -> None:
        x_BCHW, labels = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        self.learner.step([Images(x_BCHW, labels)], 1, 0.01).item()

    def _timed(self, load: Callable[[int], Iterator[Any]], step: Callable[[Any], None]) -> float:
        """Return images/s from the second batch on."""
        batches = iter(load(self.given.batches + 1))
        step(next(batches))
        self._wait()
        start = time.perf_counter()
        for batch in batches:
            step(batch)
        self._wait()
        return self.given.batches * self.given.batch_size / (time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def spread(values: list[float], digits: int) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {name: round(value, digits) for name, value in (("median", middle), ("p25", low), ("p75", high))}


def summarise(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians over the rounds; ratios are taken within each round."""
    names = [name.removesuffix(" alone") for name in rounds[0] if name.endswith(" alone")]
    rows = {
        name: {
            "alone_images_per_s": spread([each[f"{name} alone"] for each in rounds], 1),
            "with_network_images_per_s": spread([each[f"{name} with network"] for each in rounds], 1),
            "ratio": spread([each[f"{name} with network"] / each[f"{REFERENCE} with network"] for each in rounds], 3),
            "alone_ratio": spread([each[f"{name} alone"] / each[f"{REFERENCE} alone"] for each in rounds], 3),
            "lost": spread([1 - each[f"{name} with network"] / each[NETWORK] for each in rounds], 3),
        }
        for name in names
    }
    found = {"network_images_per_s": spread([each[NETWORK] for each in rounds], 1), "loaders": rows}
    if PLACED not in rounds[0]:
        return found
    with_loader = f"{PLACED} with torchvision"
    return found | {
        "placed": {
            "images_per_s": spread([each[PLACED] for each in rounds], 1),
            "ratio_over_bare": spread([each[PLACED] / each[NETWORK] for each in rounds], 3),
            "with_torchvision_images_per_s": spread([each[with_loader] for each in rounds], 1),
            "lost": spread([1 - each[with_loader] / each[PLACED] for each in rounds], 3),
        }
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--data-dir", type=Path, help="train/<class>/*.JPEG; drawn where it is not given")
    parser.add_argument("--host", default="resnet50")
    parser.add_argument("--placement", metavar="ARCHITECTURE", help="a file or shipped placement, for that host")
    parser.add_argument("--size", type=int, default=176, help="of training crops in pixels")
    parser.add_argument("--cache", type=int, default=256, help="shorter side of cached images")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--batches", type=int, default=40, help="in a turn")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/retrain.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as drawn:
        folder = given.data_dir or Path(drawn)
        if given.data_dir is None:
            make_imagenet(folder, classes=10, train=40, val=4)
        bench = Bench(folder, given)
        turns = bench.turns()
        rounds = [{name: turn() for name, turn in turns.items()} for _ in range(given.rounds + 1)][1:]
    found = summarise(rounds)
    setting = Setting(bench.device, bench.precision == "bf16", given.batch_size, given.rounds, 0.0, "wall")
    named = {
        name: getattr(given, name) for name in ("host", "placement", "size", "cache", "batches", "workers", "compile")
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    images = "drawn" if given.data_dir is None else "given"
    given.out.write_text(json.dumps({**about(setting), **named, "images": images, **found}, indent=1) + "\n")
    print(f"network alone: {found['network_images_per_s']['median']:,.0f} images/s")
    if "placed" in found:
        placed = found["placed"]
        print(
            f"with {given.placement}: {placed['images_per_s']['median']:,.0f} images/s, "
            f"{placed['ratio_over_bare']['median']:.2f} of the bare network's; with torchvision's decoder "
            f"{placed['lost']['median']:.0%} of that lost"
        )
    for name, row in found["loaders"].items():
        print(
            f"{name}: alone {row['alone_images_per_s']['median']:,.0f} images/s ({row['alone_ratio']['median']:.2f} of "
            f"the reference), with the network {row['with_network_images_per_s']['median']:,.0f} "
            f"({row['ratio']['median']:.2f}), {row['lost']['median']:.0%} of the network's speed lost"
        )


if __name__ == "__main__":
    main()
