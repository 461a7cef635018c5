"""Time training steps against the usual loop.

    python benchmarks/trainer.py

The usual loop is that of tutorials of CIFAR-10 in PyTorch: torchvision's data set of PIL images with RandomCrop,
RandomHorizontalFlip, ToTensor and Normalize, a DataLoader with two workers, float32, SGD with momentum, and loss and
accuracy read after each step. Its workers stay alive, so that a turn does not pay for starting them. Both train the
same network on batches of the same size; neither validates.

A row is one host and one of two questions: one process of ours against the usual loop, both with one thread (the usual
loop's workers come on top); and several one-thread processes of ours at once, as a search runs them, against the
usual loop with as many threads. Threads that wait for each other suffer more from what else runs on the machine than
processes do; `load_before` is the load average before the row. Every process is started and warmed up before; a turn
is the same number of steps for each, ours and the usual loop's take turns, and the ratio is in images per second. How
it is timed: `measuring.py`.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Setting, about, compare
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from search_spaces import Architecture
from trials import DataConfig, Dataset, TrainConfig, load_data
from trials.data import augmentation
from trials.device_data import on_device
from trials.devices import describe_device, pick_device, pick_precision
from trials.train import Trainer

HOSTS: dict[str, dict[str, Any]] = {
    "resnet20": {"name": "resnet20"},
    "resnet18": {"name": "resnet18", "stem": "cifar", "classes": 10, "input": 32},
    "resnet50": {"name": "resnet50", "stem": "cifar", "classes": 10, "input": 32},
}
Turn = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """What one process trains."""

    is_ours: bool
    host: str
    batch_size: int
    steps: int
    """In one turn."""
    threads: int
    device: str

    @property
    def num_images(self) -> int:
        return self.batch_size * self.steps


class InMemory(CIFAR10):
    """What torchvision's CIFAR10 does with images, wherever they come from."""

    def __init__(self, data: Dataset, transform: Callable[[Any], Any]) -> None:
        self.data = np.ascontiguousarray(data.images.transpose(0, 2, 3, 1))
        self.targets = data.labels.tolist()
        self.transform, self.target_transform = transform, None


def read_images(num_images: int) -> Dataset:
    """Return the first images of CIFAR-10 from `NAS_DATA_DIR`, or random ones of the same shape."""
    if folder := os.environ.get("NAS_DATA_DIR"):
        data = load_data(DataConfig(source="cifar10", dir=folder, validation=1))
        images, labels = data.images[:num_images].copy(), data.labels[:num_images].copy()
    else:
        images = np.random.default_rng(0).integers(0, 256, (num_images, 3, 32, 32), dtype=np.uint8)
        labels = np.arange(num_images) % 10
    return Dataset(images, labels, images[:10], labels[:10], tuple("0123456789"))


def build(host: str) -> nn.Module:
    return Architecture.from_dict({"host": HOSTS[host]}).build(seed=0)


def our_turn(job: Job, data: Dataset) -> Turn:
    """Return what trains an epoch over the images of a turn as a trial does, with its defaults."""
    device = pick_device(job.device)
    trainer = Trainer(
        build(job.host).to(device).to(memory_format=torch.channels_last),
        on_device(data, device, "train"),
        np.arange(len(data.labels)),
        TrainConfig(epochs=1000, batch_size=job.batch_size, lr=0.1),
        augmentation(DataConfig(source="cifar10", validation=1), data.size),
        seed=0,
        precision=pick_precision("auto", device),
    )
    epochs = iter(range(1, 1000))
    return lambda: trainer.run_epoch(next(epochs))


def usual_turn(job: Job, data: Dataset) -> Turn:
    """Return what trains an epoch over the images of a turn as tutorials do."""
    device = pick_device(job.device)
    mean, std = data.mean_std
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Normalize(mean, std)])
    images = InMemory(data, transform)
    loader = DataLoader(images, batch_size=job.batch_size, shuffle=True, num_workers=2, persistent_workers=True)
    model = build(job.host).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    torch.backends.cudnn.benchmark = True

    def turn() -> None:
        total_loss, num_right = 0.0, 0
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            num_right += outputs.max(1)[1].eq(targets).sum().item()

    return turn


def work(job: Job, data: Dataset, pipe: Connection) -> None:
    """Train a turn each time that one is asked for, and say when it is done."""
    torch.set_num_threads(job.threads)
    turn = (our_turn if job.is_ours else usual_turn)(job, data)
    while pipe.recv():
        turn()
        pipe.send(True)


class Processes:
    """Processes that train a turn at once."""

    def __init__(self, jobs: Sequence[Job], data: Dataset) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for job in jobs:
            mine, theirs = context.Pipe()
            process = context.Process(target=work, args=(job, data, theirs))
            process.start()
            theirs.close()  # so that a process that dies is noticed
            self._pipes.append(mine)
            self._processes.append(process)

    def turn(self) -> None:
        for pipe in self._pipes:
            pipe.send(True)
        for pipe in self._pipes:
            pipe.recv()

    def stop(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(False)
            process.join()


def measure(setting: Setting, host: str, num_processes: int, steps: int, device: str) -> dict[str, Any]:
    """Return the row of one host: so many processes of ours against the usual loop."""
    ours = [Job(True, host, setting.batch_size, steps, 1, device)] * num_processes
    usual = Job(False, host, setting.batch_size, steps, num_processes, device)
    data, load = read_images(usual.num_images), os.getloadavg()[0]
    our_processes, usual_process = Processes(ours, data), Processes([usual], data)
    found = compare(setting, our_processes.turn, usual_process.turn)
    our_processes.stop()
    usual_process.stop()
    return {
        "host": host,
        "command": about(setting)["command"],
        "our_processes": num_processes,
        "threads_each": 1,
        "usual_threads": num_processes,
        "batch_size": setting.batch_size,
        "steps_in_a_turn": steps,
        "load_before": round(load, 1),
        "our_images_per_s": round(num_processes * usual.num_images / found.base_ms * 1e3, 1),
        "usual_images_per_s": round(usual.num_images / found.ms * 1e3, 1),
        "ratio": {key: round(num_processes * getattr(found, key), 3) for key in ("median", "p25", "p75")}
        | {"n": found.n},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--hosts", nargs="+", choices=HOSTS, default=list(HOSTS))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8, help="in a turn")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of ours at once, a row for each")
    parser.add_argument("--rounds", type=int, default=15, help="ratios per median, at most")
    parser.add_argument("--seconds", type=float, default=60, help="per median; at least 3 rounds are made")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/trainer.json"))
    parser.add_argument("--add", action="store_true", help="keep the other rows that the file has")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    setting = Setting(torch.device("cpu"), False, arguments.batch_size, arguments.rounds, arguments.seconds, "wall")
    kept = json.loads(arguments.out.read_text())["rows"] if arguments.add and arguments.out.exists() else []
    anew = {(host, number) for host in arguments.hosts for number in arguments.processes}
    rows = [row for row in kept if (row["host"], row["our_processes"]) not in anew]
    for host in arguments.hosts:
        for num_processes in arguments.processes:
            row = measure(setting, host, num_processes, arguments.steps, str(device))
            ratio = row["ratio"]
            print(
                f"{host}: {num_processes} x {row['our_images_per_s'] / num_processes:.0f} images/s, "
                f"usual {row['usual_images_per_s']:.0f}: {ratio['median']:.2f} "
                f"[{ratio['p25']:.2f}, {ratio['p75']:.2f}], n = {ratio['n']}",
                flush=True,
            )
            rows.append(row)
            write(arguments.out, setting, device, rows)


def write(path: Path, setting: Setting, device: torch.device, rows: list[dict[str, Any]]) -> None:
    """Write what was found so far."""
    found = about(setting) | {
        "device": describe_device(device).split(", ")[0],
        "precision": f"ours {pick_precision('auto', device)}, usual fp32",
        "memory_format": "ours channels_last, usual contiguous",
        "images": "CIFAR-10" if os.environ.get("NAS_DATA_DIR") else "random",
        "rows": rows,
    }
    for key in ("command", "threads", "batch_size", "rounds"):
        del found[key]  # The rows say it.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
