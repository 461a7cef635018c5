"""What a training has come to: its record, and what its weights say of themselves."""

import json
from dataclasses import dataclass
from typing import Any

from search_spaces import Cost
from trials.compiling import Compiling
from trials.devices import Precision, describe_device, describe_versions
from trials.retrain.batching import Batching
from trials.retrain.course import Past
from trials.retrain.job import Job
from trials.retrain.place import Place
from trials.retrain.record import RetrainRecord
from trials.retrain.task import Task


@dataclass(frozen=True)
class Facts:
    """How a training was carried out."""

    place: Place
    batching: Batching
    cost: Cost
    precision: Precision
    compiling: Compiling


def record_of(job: Job, task: Task[Any], facts: Facts, past: Past, wall_s: float) -> RetrainRecord:
    """Return the record of a training all of whose epochs are `past`; its metrics are those of the last one."""
    last, batching, device = past.history[-1], facts.batching, facts.place.device
    assert last.metrics is not None
    return RetrainRecord(
        architecture=job.architecture.to_dict(),
        architecture_id=job.architecture.id,
        architecture_hash=job.architecture.hash,
        built_id=task.architecture.id,
        recipe_name=job.recipe_name,
        recipe=job.recipe.to_dict(),
        recipe_hash=job.recipe.hash,
        task=job.recipe.task,
        seed=job.seed,
        metric=task.metric.name,
        maximise=task.metric.maximise,
        split=task.split,
        metrics=last.metrics,
        history=tuple(past.history),
        params=facts.cost.params,
        macs=facts.cost.macs,
        num_train=task.num_items,
        data_sha256=task.data_sha256,
        processes=batching.world_size,
        accumulation=batching.accumulation,
        part_size=batching.part_size,
        device=describe_device(device),
        precision=facts.precision,
        compiling=str(facts.compiling),
        versions=describe_versions(device),
        images_per_s=last.step * batching.batch_size / max(past.train_s, 1e-9),
        waiting_share=past.waited_s / max(past.train_s, 1e-9),
        wall_s=wall_s,
        runs=past.runs,
        warnings=tuple(past.warnings),
        started_at=past.started_at,
    )


def metadata_of(record: RetrainRecord, task: Task[Any]) -> dict[str, str]:
    """Return what it takes to use the weights, for their file."""
    architecture = task.architecture
    return {
        "architecture": json.dumps(architecture.to_dict()),
        "architecture_id": architecture.id,
        "architecture_hash": architecture.hash,
        "seed": str(record.seed),
        "epochs": str(len(record.history)),
        "recipe": record.recipe_name,
        **task.metadata,
    }
