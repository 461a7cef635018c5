"""What has to be equal before the numbers of two studies mean the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reports.view import StudyView
from trials.record import TrialRecord

Conditions = tuple[tuple[str, str], ...]
"""What is called what, in words; equal for studies whose values may be compared."""

_OF_DEVICE = ("latency_ms", "memory_bytes")
_WITHOUT_EFFECT = ("compile", "cuda_graphs", "channels_last", "accumulation")
"""Keys of `train` that change how fast a training is, and its result by no more than rounding."""


def conditions_of(view: StudyView) -> Conditions:
    """Return what the values of a study's search depend on beside the architecture and the seed."""
    records = [trial.record for trial in view.search if trial.measured and trial.record is not None]
    facts = [("objectives", ", ".join(view.objectives)), *_data(view, records)]
    facts += [(f"train.{key}", _short(value)) for key, value in _recipe(view)]
    facts.append(("precision", _each(records, lambda record: record.precision)))
    if set(view.objectives) & set(_OF_DEVICE):
        facts.append(("device", _each(records, lambda record: record.device)))
    return tuple(facts)


def what_differs(one: Conditions, other: Conditions) -> list[str]:
    """Return each condition that differs as `train.lr: 0.1 against 0.2`."""
    mine, theirs = dict(one), dict(other)
    keys = dict.fromkeys([*mine, *theirs])
    return [
        f"{key}: {mine.get(key, 'not given')} against {theirs.get(key, 'not given')}"
        for key in keys
        if mine.get(key) != theirs.get(key)
    ]


def _data(view: StudyView, records: Sequence[TrialRecord]) -> list[tuple[str, str]]:
    source = str((view.experiment.get("data") or {}).get("source", "not given"))
    return [
        ("data", source),
        ("SHA-256 of the data", _each(records, lambda record: record.data_sha256[:12])),
        ("images to train on", _each(records, lambda record: f"{record.num_train:,}")),
        ("images for validation", _each(records, lambda record: f"{record.num_validation:,}")),
    ]


def _recipe(view: StudyView) -> list[tuple[str, Any]]:
    recipe: Mapping[str, Any] = view.experiment.get("train") or {}
    augmented = {k: v for k, v in (view.experiment.get("data") or {}).items() if k in ("flip", "crop", "cutout")}
    return [(key, value) for key, value in {**recipe, **augmented}.items() if key not in _WITHOUT_EFFECT]


def _each(records: Iterable[TrialRecord], read: Callable[[TrialRecord], str]) -> str:
    return " and ".join(sorted({read(record) for record in records})) or "nothing measured"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
