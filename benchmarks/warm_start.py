"""Does starting from the trained host rank placements as well as training them from scratch, for the same time?

The bare host is trained once per seed; every placement then starts from its weights, with modules that start as
identity (`init: identity`), and is trained for a few epochs. Held against the same lengths from scratch: Kendall's tau
with the mean of the whole trainings with the other seeds, over the table of really trained placements
(`make_table.py`), a seeded part of it. The host's own training is not counted.

    python benchmarks/warm_start.py                # about 8 minutes of one core
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from make_table import CONFIG, made_on
from placement_table import Floats, Table, read_table
from scipy.stats import kendalltau

from reports.findings.reliability import Estimate, bootstrap
from search_spaces import Architecture
from trials import TrialConfig
from trials.devices import seeded
from trials.trial import Findings, prepare

LENGTHS = (2, 4)
ATTENTION_LR = (1.0, 10.0)
RESULTS = Path(__file__).parent / "results" / "warm-start.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table()
    chosen = np.random.default_rng(1).permutation(table.space.size)[: arguments.architectures]
    seeds = table.seeds[: arguments.seeds]
    hosts = {seed: _train(_bare(table), seed, table.full, None, 1.0)[1] for seed in seeds}
    rows = []
    for attention_lr in ATTENTION_LR:
        for epochs in LENGTHS:
            start = process_time()
            measured = [[_warm(table, n, seed, epochs, hosts[seed], attention_lr) for seed in seeds] for n in chosen]
            cpu_s = (process_time() - start) / (len(chosen) * len(seeds))
            rows.append(_row(table, chosen, epochs, attention_lr, np.array(measured), cpu_s))
            print(json.dumps(rows[-1]), flush=True)
    RESULTS.write_text(
        json.dumps({"command": "python benchmarks/warm_start.py", **made_on(), "rows": rows}, indent=1) + "\n"
    )


def _row(
    table: Table, chosen: np.ndarray[Any, Any], epochs: int, attention_lr: float, warm: Floats, cpu_s: float
) -> dict[str, Any]:
    """Return how well both ways of starting rank, by accuracy and by log-loss, warm has (architectures, seeds, 2)."""
    seeds = warm.shape[1]
    row: dict[str, Any] = {"epochs": epochs, "attention_lr": attention_lr, "n": len(chosen), "seeds": seeds}
    row["cpu_s"] = round(cpu_s, 2)
    for i, (what, quality) in enumerate((("accuracy", table.accuracy), ("loss", table.loss))):
        scratch, whole = quality.at[epochs][chosen, :seeds], quality.at[table.full][chosen]
        both = np.concatenate([warm[:, :, i], scratch, whole], axis=1)

        def warm_tau(drawn: Floats) -> float:
            return _tau(drawn[:, :seeds], drawn[:, 2 * seeds :])

        def scratch_tau(drawn: Floats) -> float:
            return _tau(drawn[:, seeds : 2 * seeds], drawn[:, 2 * seeds :])

        row[what] = {
            "warm start": _shown(bootstrap(both, warm_tau)),
            "from scratch": _shown(bootstrap(both, scratch_tau)),
            "warm over scratch": _shown(bootstrap(both, lambda drawn: warm_tau(drawn) - scratch_tau(drawn))),
        }
    return row


def _tau(short: Floats, whole: Floats) -> float:
    """Return the mean over seeds of Kendall's tau with the mean of the other seeds' whole trainings."""
    others = [np.delete(whole, seed, axis=1).mean(axis=1) for seed in range(short.shape[1])]
    return float(np.mean([kendalltau(short[:, k], others[k]).statistic for k in range(short.shape[1])]))


def _warm(
    table: Table, number: int, seed: int, epochs: int, host: dict[str, torch.Tensor], attention_lr: float
) -> tuple[float, float]:
    data = table.space.decode(table.space.at(int(number))).to_dict()
    for site, placed in data["placement"].items():
        specs = placed if isinstance(placed, list) else [placed]
        data["placement"][site] = [spec | {"init": "identity"} for spec in specs]
    return _train(Architecture.from_dict(data), seed, epochs, host, attention_lr)[0]


def _train(
    architecture: Architecture, seed: int, epochs: int, start: dict[str, torch.Tensor] | None, attention_lr: float
) -> tuple[tuple[float, float], dict[str, torch.Tensor]]:
    """Return accuracy and log-loss on the validation split, and the weights."""
    train = CONFIG.train.model_copy(update={"epochs": epochs, "attention_lr": attention_lr})
    trial = prepare(architecture, TrialConfig(data=CONFIG.data, train=train, device="cpu"), seed)
    with seeded(seed, trial.device):
        model, found = trial.build(), Findings()
        if start is not None:
            unknown = model.load_state_dict(start, strict=False).unexpected_keys
            assert not unknown, unknown
        for _ in trial.train(model, found):
            pass
    assert found.validation is not None
    return (found.validation.accuracy, found.validation.loss), model.state_dict()


def _bare(table: Table) -> Architecture:
    return Architecture.of(table.space.hosts[0], {})


def _shown(found: Estimate | None) -> dict[str, float] | None:
    return found and {name: round(value, 3) for name, value in asdict(found).items()}


if __name__ == "__main__":
    main()
