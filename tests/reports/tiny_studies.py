"""Small studies over real architectures with made-up measurements."""

from collections.abc import Sequence
from typing import Any

from reports import OBJECTIVES, StudyView, TrialView
from search_spaces import Architecture
from trials import TrialRecord

HOST = {"name": "resnet20", "classes": 10, "input": 32}
NUM_VALIDATION = 1000


def placed(placement: dict[str, Any]) -> Architecture:
    """Return a ResNet-20 with these modules."""
    return Architecture.from_dict({"host": HOST, "placement": placement})


BARE = placed({})
SE = placed({"*/branch": {"module": "se", "reduction": 4}})
ECA = placed({"layer1.0/branch": {"module": "eca"}})
BAM = placed({"layer1/end": {"module": "bam"}, "layer2/end": {"module": "bam"}})
MACS = {BARE: 100, ECA: 110, SE: 120, BAM: 200}


def record(architecture: Architecture, accuracy: float | None, **changes: Any) -> TrialRecord:
    """Return a record; without an accuracy it failed."""
    facts: dict[str, Any] = {
        "architecture": architecture.to_dict(),
        "architecture_id": architecture.id,
        "architecture_hash": architecture.hash,
        "seed": 0,
        "epochs": 8,
        "status": "complete" if accuracy is not None else "failed",
        "accuracy": accuracy,
        "loss": None if accuracy is None else 1 - accuracy,
        "params": 10 * MACS.get(architecture, 100),
        "macs": MACS.get(architecture, 100),
        "wall_s": 2.0,
        "images_per_s": 500.0,
        "memory_bytes": 2**20,
        "memory_method": "peak resident set size",
        "device": "one CPU core",
        "precision": "fp32",
        "num_train": 4000,
        "num_validation": NUM_VALIDATION,
        "num_test": 2000,
        "data_sha256": "ab" * 32,
        "versions": {"torch": "2.0"},
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return TrialRecord(**{**facts, **changes})


def trial(
    number: int,
    architecture: Architecture,
    accuracy: float | None,
    *,
    label: str | None = None,
    objectives: Sequence[str] = ("accuracy", "macs"),
    **changes: Any,
) -> TrialView:
    """Return a finished trial, or a failed one without an accuracy."""
    measured = record(architecture, accuracy, **changes)
    values = None
    if accuracy is not None:
        values = tuple(float(OBJECTIVES[name].value(measured) or 0.0) for name in objectives)
    state = "failed" if accuracy is None else "complete"
    finished_at = f"2026-01-01T00:{number:02d}:00+00:00"
    role = "baseline" if label else "proposal"
    return TrialView(number, role, label, measured, state, values, finished_at, architecture)


def study(search: Sequence[TrialView] = (), confirm: Sequence[TrialView] = (), **changes: Any) -> StudyView:
    """Return a study of these trials."""
    facts: dict[str, Any] = {
        "name": "tiny",
        "description": "a made-up study",
        "experiment": {"data": {"source": "digits"}, "confirm": {"epochs": 24}},
        "objectives": ("accuracy", "macs"),
        "search": tuple(search),
        "confirm": tuple(confirm),
        "num_refused": 3,
        "command": "nas search tiny",
        "path": "studies/tiny",
        "exhausted": False,
        "space_size": 1000,
        "hosts": (BARE,),
    }
    return StudyView(**{**facts, **changes})


def searched(objectives: Sequence[str] = ("accuracy", "macs")) -> tuple[TrialView, ...]:
    """Return a search whose front is host, ECA and SE; BAM costs more and is worse, and one trial failed."""
    return (
        trial(0, BARE, 0.90, label="host", objectives=objectives),
        trial(1, BAM, 0.89, label="bam everywhere", objectives=objectives),
        trial(2, SE, 0.92, objectives=objectives),
        trial(3, ECA, 0.91, objectives=objectives),
        trial(4, BAM, None, reason="loss is not finite: <script>alert(1)</script>"),
    )


def confirmed(objectives: Sequence[str] = ("accuracy", "macs")) -> tuple[TrialView, ...]:
    """Return three seeds of four architectures; SE gains 20, 21 and 22 images of 1000, ECA loses as many."""
    base = {1: 0.930, 2: 0.934, 3: 0.932}
    gain = {1: 0.020, 2: 0.021, 3: 0.022}
    trials = []
    for architecture, sign, label in ((BARE, 0, "host"), (SE, 1, None), (ECA, -1, None), (BAM, 0, "bam everywhere")):
        for seed, start in base.items():
            accuracy = start + sign * gain[seed]
            facts = {"seed": seed, "epochs": 24, "test_accuracy": accuracy - 0.01, "test_loss": 0.2}
            trials.append(trial(len(trials), architecture, accuracy, label=label, objectives=objectives, **facts))
    return tuple(trials)
