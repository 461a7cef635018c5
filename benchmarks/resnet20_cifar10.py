"""Train the bare ResNet-20 on the whole of CIFAR-10 with this project's trainer and say what accuracy it reaches.

    python benchmarks/resnet20_cifar10.py --data-dir data --epochs 8 --seeds 0 1 --workers 2

Half the usual batch, a linear warm-up of one epoch and a cosine to zero; otherwise the paper's recipe (He et al.,
2015, section 4.2: SGD with momentum 0.9, weight decay 1e-4, lr 0.1, 4-pixel crops and flips; they train for 164
epochs at batch 128, to 91.25 % test accuracy). Writes one JSON file with every epoch.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from search_spaces import Architecture
from trials import DataConfig, EpochResult, TrainConfig, TrialConfig, run_trial


def train(seed: int, data_dir: str, epochs: int, batch_size: int, lr: float) -> dict[str, object]:
    """Train with one seed on one thread; report each epoch."""
    torch.set_num_threads(1)

    def on_epoch(result: EpochResult) -> None:
        print(f"seed {seed} epoch {result.epoch}: validation {result.accuracy:.2%}, {result.wall_s:.0f} s", flush=True)

    config = TrialConfig(
        data=DataConfig(source="cifar10", dir=data_dir, validation=5000),
        train=TrainConfig(epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=1e-4, warmup=min(1.0, epochs / 4)),
        test=True,
    )
    architecture = Architecture.from_dict({"host": {"name": "resnet20"}})
    return run_trial(architecture, config, seed, on_epoch=on_epoch).to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/resnet20_cifar10.json"))
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(train, seed, arguments.data_dir, arguments.epochs, arguments.batch_size, arguments.lr)
            for seed in arguments.seeds
        ]
        records = [future.result() for future in futures]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(records, indent=1) + "\n")
    for record in records:
        if record["status"] == "failed":
            print(f"seed {record['seed']}: FAILED: {record['reason']}")
            continue
        print(f"seed {record['seed']}: {record['epochs']} epochs, test accuracy {record['test_accuracy']:.2%}")


if __name__ == "__main__":
    main()
