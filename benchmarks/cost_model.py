"""How well time and memory of a trial are predicted from other trials: errors of those left out.

    python benchmarks/cost_model.py --seconds 150 --out benchmarks/results/cost_model.json

Random placements of ResNet-20, from none to all decisions occupied, are trained one after the other for two epochs by
one thread: on digits (8x8), and on random images of CIFAR's size (32x32). Every fourth trial is the bare host again,
which says how much the same trial differs from itself; it takes no part in the rest.

`time`: per training image and epoch, in CPU time of the process (the wall clock's share of it), since the machine may
be shared. `memory`: as records have it; on a CPU that is the process's, interpreter included. Errors are root mean
squares of the logarithm of predicted / measured, roughly relative errors, where each trial is predicted from all others
(`all`) or from the eight before it (`eight`). Alternatives: the mean (of logarithms) of the others, and that of what
they took per MAC. `covered`: how often a trial lies within the interval that the others give; its nominal coverage
stands beside it. `width`: the median of its upper over its lower end.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.stats import spearmanr

from nas.experiment import load_space
from search_spaces import Architecture, SearchSpace
from trials import DataConfig, TrainConfig, TrialConfig, run_trial
from trials.cost_model import COVERAGE, Features, Law, Scale, features_of
from trials.devices import describe_device

Floats = npt.NDArray[np.float64]
FEW = 8


@dataclass(frozen=True)
class Measured:
    features: Features
    is_host: bool
    time_s: float
    """Per image and epoch, in CPU time."""
    memory_bytes: float


def random_placement(space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """Draw how many decisions place a module, which, and what."""
    num = len(space.decisions)
    occupied = set(rng.permutation(num)[: rng.integers(0, num + 1)].tolist())
    sizes = [len(decision.options) for decision in space.decisions]
    return space.decode([int(rng.integers(1, n)) if i in occupied and n > 1 else 0 for i, n in enumerate(sizes)])


def random_images(folder: Path, rng: np.random.Generator) -> DataConfig:
    """Write random images of CIFAR's size, ten classes of them."""
    for split, count in (("train", 12), ("test", 1)):
        for label in range(10):
            (folder / split / str(label)).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / str(label) / f"{number}.png")
    return DataConfig(source="folder", dir=str(folder), size=32, validation=24, training=96)


def measure(space: SearchSpace, config: TrialConfig, seconds: float, rng: np.random.Generator) -> list[Measured]:
    """Train random placements until the time is up."""
    found: list[Measured] = []
    bare, end = Architecture.of(space.host, {}), time.monotonic() + seconds
    run_trial(bare, config, 0)  # the first trial of a process pays for what the others find ready
    while time.monotonic() < end:
        is_host = len(found) % 4 == 3
        architecture = bare if is_host else random_placement(space, rng)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        record = run_trial(architecture, config, 0)
        share = (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)
        epoch_s = float(np.mean([epoch.wall_s for epoch in record.history]))
        memory = float(record.memory_bytes or np.nan)
        found.append(Measured(features_of(architecture), is_host, epoch_s * share / record.num_train, memory))
    return found


def judge(trials: Sequence[Measured], values: Floats, scale: Scale) -> dict[str, Any]:
    """Return the errors of all ways to predict one quantity."""
    placed = np.array([not trial.is_host for trial in trials])
    features = [trial.features for trial in trials if not trial.is_host]
    logs, per_mac = np.log(values[placed]), np.log([each.macs for each in features])
    results: dict[str, Any] = {"unlike itself (host)": round(float(np.log(values[~placed]).std(ddof=1)), 4)}
    for name, few in (("all", None), ("eight", FEW)):
        errors: dict[str, list[float]] = {"mean": [], "per MAC": [], "model": []}
        guesses, inside, widths = [], [], []
        for i in range(few or 0, len(features)):
            others = [j for j in range(len(features)) if j != i] if few is None else list(range(i - few, i))
            law = Law([features[j] for j in others], [float(np.exp(logs[j])) for j in others], scale)
            guess = law.predict(features[i])
            assert guess is not None
            errors["mean"].append(logs[others].mean() - logs[i])
            errors["per MAC"].append((logs - per_mac)[others].mean() + per_mac[i] - logs[i])
            errors["model"].append(np.log(guess.value) - logs[i])
            guesses.append(guess.value)
            if guess.low is not None and guess.high is not None:
                inside.append(np.log(guess.low) <= logs[i] <= np.log(guess.high))
                widths.append(guess.high / guess.low)
        rms = {way: round(float(np.sqrt(np.mean(np.square(each)))), 4) for way, each in errors.items()}
        results[name] = {"n": len(guesses), "error": rms, "spearman": round(spearmanr(guesses, logs[few or 0 :])[0], 3)}
        if inside:
            results[name] |= {"covered": round(float(np.mean(inside)), 3), "nominal": COVERAGE}
            results[name] |= {"width": round(float(np.median(widths)), 3)}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150, help="for each of the two data sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        digits = DataConfig(source="digits", validation=100, training=384)
        cases = (
            ("digits 8x8", "digits-gates", digits, 64),
            ("random images 32x32", "resnet20-gates", random_images(Path(folder), rng), 32),
        )
        for name, space, data, batch_size in cases:
            config = TrialConfig(data=data, train=TrainConfig(epochs=2, batch_size=batch_size, lr=0.05), device="cpu")
            trials = measure(load_space(space), config, arguments.seconds, rng)
            results[name] = {
                "space": space,
                "trials": len(trials),
                "time": judge(trials, np.array([trial.time_s for trial in trials]), lambda f: f.macs),
                "memory": judge(trials, np.array([trial.memory_bytes for trial in trials]), lambda _: 1.0),
            }
            print(name, json.dumps(results[name], indent=2), flush=True)
    about = {
        "schema": 1,
        "command": shlex.join(["python", *sys.argv]),
        "device": describe_device(torch.device("cpu")),
        "load": os.getloadavg(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(about | {"results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
