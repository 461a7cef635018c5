"""Make a table of really trained placements, for searches to be replayed from (`search_table.py`).

    python benchmarks/make_table.py        # 768 trainings of two seconds of one core; started again, it goes on

Every architecture of a small space is trained with `run_trial` on the digits of scikit-learn: with every seed, in legs
from rung to rung as early stopping trains it. So few images and steps that architectures differ, and seeds do too. Seed
by seed, so that what is there at any time is whole for the seeds before. Only the validation split is measured.

A line of the table is one architecture with one seed; `legs` holds for each length the epochs that this leg trained
itself (the others are those of the stable part before it), with hits among the validation images and log-loss.
"""

import argparse
import gc
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from search_spaces import SearchSpace, measure_cost
from search_spaces.errors import InputError
from trials import DataConfig, TrainConfig, TrialConfig, run_trial
from trials.devices import describe_device

SPACE: dict[str, Any] = {
    "host": {"name": "aff_resnet20_b1", "width": 0.125, "classes": 10, "input": 8, "channels": 1},
    "choices": [
        {
            "at": "*/branch",
            "per": "block",
            "modules": {"none": {}, "se": {"reduction": 2}, "cbam": {"reduction": 4}, "ba": {"reduction": 4}},
        },
        {"at": "*/end", "per": "stage", "modules": {"none": {}, "se": {"reduction": 2}}},
    ],
}
LENGTHS = (2, 4, 12)
"""Epochs; the last is a whole training."""
SEEDS = (0, 1, 2)
CONFIG = TrialConfig(
    data=DataConfig(source="digits", validation=576, training=288),
    train=TrainConfig(epochs=LENGTHS[-1], batch_size=48, lr=0.03, schedule="wsd", precision="fp32"),
    device="cpu",
)


def train(space: SearchSpace, number: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train one architecture with one seed, leg by leg, and return its line."""
    indices = space.at(number)
    architecture = space.decode(indices)
    checkpoint = folder / "checkpoint"
    checkpoint.unlink(missing_ok=True)
    legs = {}
    for epochs in LENGTHS:
        config = CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"epochs": epochs})})
        start = process_time()
        record = run_trial(architecture, config, seed, checkpoint=checkpoint)
        cpu_s = process_time() - start
        if record.status == "failed":
            raise RuntimeError(f"{architecture} with seed {seed} failed after {epochs} epochs: {record.reason}")
        own = record.history[record.first_epoch - 1 :]
        legs[str(epochs)] = {
            "cpu_s": round(cpu_s, 3),
            "first_epoch": record.first_epoch,
            "hits": [round(epoch.accuracy * record.num_validation) for epoch in own],
            "loss": [round(epoch.loss, 5) for epoch in own],
        }
    cost = measure_cost(architecture)
    return {"at": list(indices), "seed": seed, "params": cost.params, "macs": cost.macs, "legs": legs}


def header() -> dict[str, Any]:
    """Return what the table is of: the first line, beside what it was made on."""
    config = CONFIG.model_dump(exclude={"data": {"dir"}})
    return {"space": SPACE, "trial": config, "lengths": list(LENGTHS), "seeds": list(SEEDS)}


def made_on() -> dict[str, str]:
    """Return the processor and the versions."""
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__}
    return {"device": describe_device(torch.device("cpu")), **versions}


def start(path: Path) -> set[tuple[tuple[int, ...], int]]:
    """Begin the file, or return what it holds; a last line that was cut off is taken away.

    Raises:
        InputError: the file is of another space or recipe.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**header(), "made_on": made_on()}) + "\n")
        return set()
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    path.write_text("".join(whole))
    first, *lines = (json.loads(line) for line in whole)
    if {key: first[key] for key in header()} != json.loads(json.dumps(header())):
        raise InputError(f"{path} is of another space or recipe; move it away")
    return {(tuple(line["at"]), line["seed"]) for line in lines}


def in_order(space: SearchSpace, seeds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """List architectures and seeds, seed by seed; the architectures in an order drawn once."""
    order = np.random.default_rng(0).permutation(space.size)
    return ((int(number), seed) for seed in seeds for number in order)


def pack(path: Path) -> Path:
    """Write the compact file that is kept."""
    packed = path.with_suffix(".jsonl.gz")
    with gzip.GzipFile(packed, "wb", mtime=0) as file:
        file.write(path.read_bytes())
    return packed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/tables/digits-placements.jsonl"))
    parser.add_argument("--most", type=int, help="train at most so many")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space = SearchSpace.from_dict(SPACE)
    done = start(arguments.out)
    missing = [(n, seed) for n, seed in in_order(space, SEEDS) if (space.at(n), seed) not in done][: arguments.most]
    with tempfile.TemporaryDirectory() as folder:
        for count, (number, seed) in enumerate(missing, start=1):
            line = train(space, number, seed, Path(folder))
            with arguments.out.open("a") as file:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            if count == 1:
                gc.freeze()  # each trial collects garbage, which torch's own objects make as long as a leg
            if count % 10 == 0 or count == len(missing):
                cpu_s = sum(leg["cpu_s"] for leg in line["legs"].values())
                print(f"{count} of {len(missing)}, the last took {cpu_s:.1f} s of one core", flush=True)
    print(f"wrote {pack(arguments.out)}")


if __name__ == "__main__":
    main()
