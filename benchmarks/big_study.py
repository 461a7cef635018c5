"""A study of any size without a training in it: records as large as real ones, in a journal as they are kept.

The space is that of `cifar10-quick` (ResNet-20, one of 12 options at nine blocks, of 10 at two stage ends), the
objectives accuracy, MACs and latency. Accuracies rise with what is placed and level off, with the noise of a training;
a seventh of the proposals is stopped early, one in a hundred fails. Four of five proposals differ at one decision from
an earlier one, as in a search. The first of the front and the baselines are confirmed with several seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from no_training import EPOCHS, HISTORY, made_up
from optuna.trial import TrialState, create_trial
from overhead import no_fsync

from nas.experiment import Experiment, load_experiment
from nas.study.home import CONFIRM, SEARCH, place_study
from nas.study.ledger import Ledger
from reports.statistics.pareto import nondominated
from search_spaces import Architecture
from trials.latency import Latency
from trials.record import TrialRecord

OBJECTIVES = ("accuracy", "macs", "latency_ms")
NUM_BASELINES, NUM_CONFIRMED, NUM_SEEDS = 8, 24, 5
GAIN = {"se": 1.0, "eca": 0.7, "cbam": 1.1, "ba": 0.9, "bam": 0.8}
COST = {"se": 4e3, "eca": 5e2, "cbam": 4e4, "ba": 6e3, "bam": 9e4}
PASS_MS = {"se": 0.06, "eca": 0.05, "cbam": 0.16, "ba": 0.12, "bam": 0.25}


def write_study(folder: Path, num_trials: int) -> None:
    """Write a study of so many proposals into an empty folder."""
    home, experiment = place_study(str(folder), "big", None), _experiment()
    rng = np.random.default_rng(0)
    baselines, proposals = _architectures(experiment, num_trials, rng)
    with home.drive(take_over=False) as driven, no_fsync(True):
        search = Ledger.open(driven.storage, home.optuna_name(SEARCH), OBJECTIVES, {"experiment": experiment.record})
        confirm = Ledger.open(driven.storage, home.optuna_name(CONFIRM), OBJECTIVES)
        records = []
        for number, architecture in enumerate([*baselines, *proposals]):
            label = f"baseline {number}" if number < NUM_BASELINES else None
            how = "complete" if label else rng.choice(["complete", "stopped", "failed"], p=[0.85, 0.14, 0.01])
            record = _record(architecture, 0, rng, 2 if how == "stopped" else EPOCHS)
            _write(driven.storage, search, record, label, str(how))
            records.append((architecture, label, record, how))
        for architecture, label in _lineup(records):
            for seed in range(1, NUM_SEEDS + 1):
                _write(driven.storage, confirm, _record(architecture, seed, rng, 8), label, "complete")


def _experiment() -> Experiment:
    experiment = load_experiment("cifar10-quick")
    return replace(experiment, record={**experiment.record, "objectives": list(OBJECTIVES)})


def _architectures(
    experiment: Experiment, num: int, rng: np.random.Generator
) -> tuple[list[Architecture], list[Architecture]]:
    """Return baselines, and proposals of which each differs at one decision from an earlier one or is drawn anew."""
    space = experiment.space
    seen: dict[str, Architecture] = {}
    drawn: list[Any] = []
    while len(seen) < NUM_BASELINES + num:
        indices = np.array(space.sample_indices(rng))
        if drawn and rng.random() < 0.8:
            other = drawn[max(0, len(drawn) - 1 - int(rng.exponential(300)))]
            at = rng.integers(len(indices))
            indices = np.where(np.arange(len(indices)) == at, indices, other)
        architecture = space.decode(indices)
        if architecture.hash not in seen:
            seen[architecture.hash] = architecture
            drawn.append(indices)
    every = list(seen.values())
    return every[:NUM_BASELINES], every[NUM_BASELINES:]


def _record(architecture: Architecture, seed: int, rng: np.random.Generator, epochs: int) -> TrialRecord:
    modules = [spec.module for _, specs in architecture.items for spec in specs]
    gain = 4 * (1 - math.exp(-sum(GAIN[m] for m in modules) / 5)) - 0.06 * len(modules) ** 1.2
    accuracy = 0.88 + (gain + rng.normal(0, 0.4)) / 100 - 0.1 / epochs
    median_ms = 2.0 + sum(PASS_MS[m] for m in modules) * float(rng.normal(1, 0.03))
    record = TrialRecord.from_dict(made_up(architecture, seed))
    return replace(
        record,
        epochs=epochs,
        history=record.history[: HISTORY if epochs == EPOCHS else epochs],
        accuracy=round(accuracy * 2500) / 2500,
        loss=0.4 - accuracy / 4 + float(rng.normal(0, 0.005)),
        params=272_474 + int(sum(COST[m] / 20 for m in modules)),
        macs=40_813_184 + int(sum(COST[m] for m in modules)),
        memory_bytes=int(4e8 + 1e7 * len(modules)),
        latency=Latency(median_ms, 0.97 * median_ms, 1.1 * median_ms, 200, 1, "made up", 1),
    )


def _lineup(
    records: Sequence[tuple[Architecture, str | None, TrialRecord, str]],
) -> list[tuple[Architecture, str | None]]:
    """Return the baselines and the first of the front."""
    done = [(each, label, record) for each, label, record, how in records if how == "complete"]
    points = np.array([[-(r.accuracy or 0), r.macs, r.latency_ms or 0] for _, _, r in done])
    front = [entry[0] for entry, on_front in zip(done, nondominated(points), strict=True) if on_front and not entry[1]]
    labelled = [(each, label) for each, label, _ in done if label]
    return [*labelled, *((each, None) for each in front[:NUM_CONFIRMED])]


def _write(storage: Any, ledger: Ledger, record: TrialRecord, label: str | None, how: str) -> None:
    if how == "failed":
        record = replace(record, status="failed", accuracy=None, loss=None, latency=None, reason="loss is not finite")
    data = record.to_dict()
    attributes = {
        "role": "baseline" if label else "proposal",
        "label": label,
        "id": record.architecture_id,
        "hash": record.architecture_hash,
        "seed": record.seed,
        "epochs": 8 if ledger.objectives and record.seed else EPOCHS,
        "architecture": record.architecture,
    }
    if how == "stopped":
        attributes |= {"rungs": [2], "target": 2, "rung 2": data, "stopped": 2}
    else:
        attributes["record"] = data
    values = None if how == "failed" else [record.accuracy, record.macs, record.latency_ms]
    state = TrialState.FAIL if how == "failed" else TrialState.COMPLETE
    trial = create_trial(state=state, values=values, user_attrs=attributes)
    storage.create_new_trial(ledger._id, trial)
