"""One trial: train and measure one architecture with one seed, and answer with a record whatever happens."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import torch

from search_spaces import Architecture, Cost, measure_cost
from trials.checkpoint import Checkpoints
from trials.devices import describe_device, describe_versions, free_memory, seeded
from trials.failure import Failure, failure_of, in_one_line, traceback_of
from trials.memory import PeakMemory
from trials.record import EpochResult, TrialRecord
from trials.score import Score
from trials.trial import Findings, Trial, TrialConfig, prepare

OnEpoch = Callable[[EpochResult], None]


def run_trial(
    architecture: Architecture,
    config: TrialConfig,
    seed: int,
    *,
    on_epoch: OnEpoch | None = None,
    weights: Path | None = None,
    checkpoint: Path | None = None,
) -> TrialRecord:
    """Train `architecture` from scratch (or its pretrained host) and measure it.

    The host's head says what is learnt: `classify` the class of an image, `segment` that of each pixel. The seed
    sets the initial weights, the split, the order of the images, their augmentation, and dropout; on one CPU
    with the same number of threads, the same seed gives the same bits. Torch's global random numbers stay as
    they were. A loss that is not finite, memory that runs out, and any other crash give a failed record with
    the reason. Memory that runs out is first answered with one more attempt, from the last checkpoint or from scratch,
    in which each batch is trained in twice as many parts; the record says so.

    Args:
        architecture: what to train.
        config: how, and what to measure.
        seed: not negative.
        on_epoch: called after each epoch's validation; what it raises passes through.
        weights: where to write the trained weights (safetensors; architecture, seed, epochs, names of the
            classes, mean and standard deviation of the images as metadata); a failed trial writes nothing. If they
            cannot be written, the record has a warning.
        checkpoint: a file that trainings of different lengths share under `schedule: wsd`: if it holds an earlier
            stable epoch of this architecture, seed and recipe, the training goes on from it, with the result that it
            would have had from scratch; and it is left holding the end of its own stable epochs. A file that is
            damaged (a warning says so), or of something else, counts as none. While it runs, a second file beside it
            (`.running`) takes its last epoch every now and then, so that the same call goes on after an interruption.

    Raises:
        InputError: the images are missing or damaged, the split is impossible, the host does not read these
            images, or the device is not there.
    """
    started_at, start = datetime.now(UTC), time.perf_counter()
    trial = prepare(architecture, config, seed)
    cost = measure_cost(architecture)
    memory = PeakMemory(trial.device)
    attempt = _Attempt(memory, on_epoch, weights, None if checkpoint is None else Checkpoints(checkpoint))
    found = attempt(trial)
    if found.failure == "memory" and (smaller := trial.smaller) is not None:
        free_memory(trial.device)
        found = _in_less_memory(attempt, smaller, found)
    if found.reason is not None:
        free_memory(trial.device)
    wall_s = time.perf_counter() - start
    return _write_record(trial, found, cost, memory.method, wall_s, started_at.isoformat(timespec="seconds"))


@dataclass(frozen=True)
class _Attempt:
    """Carries a trial out as far as it goes."""

    memory: PeakMemory
    on_epoch: OnEpoch | None
    weights: Path | None
    checkpoints: Checkpoints | None

    def __call__(self, trial: Trial) -> Findings:
        found = Findings()
        try:
            with seeded(trial.seed, trial.device):
                self._train(trial, found)
        except _CallersError as error:
            raise error.error from None
        except Exception as error:  # the one place where a failure becomes a record
            found.memory_bytes = self.memory.read()
            found.test = found.latency = None
            found.failure = failure_of(error)
            found.reason = _describe_failure(error, found.failure, trial.device)
            found.traceback = None if found.failure == "diverged" else traceback_of(error)
        return found

    def _train(self, trial: Trial, found: Findings) -> None:
        model = trial.build()
        for result in trial.train(model, found, self.checkpoints):
            _call(self.on_epoch, result)
        found.memory_bytes = self.memory.read()
        trial.measure(model, found)
        if self.weights is None:
            return
        try:
            trial.save(model, self.weights)
        except OSError as error:
            found.warn(f"the trained weights could not be written: {error.strerror or error}")


def _in_less_memory(attempt: _Attempt, smaller: Trial, before: Findings) -> Findings:
    """Try again with half as many images at a time, and say so."""
    found = attempt(smaller)
    size = smaller.part_size
    if found.failure == "memory":
        found.reason = f"{found.reason}, even with micro-batches of {size}"
    told = f"{before.reason}: trained again in {found.accumulation} parts of each batch, {size} images or fewer"
    found.warnings = list(dict.fromkeys([*before.warnings, told, *found.warnings]))
    return found


class _CallersError(Exception):
    """Carries an error of `on_epoch` past the handling of the trial's own errors."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _call(on_epoch: OnEpoch | None, result: EpochResult) -> None:
    if on_epoch is None:
        return
    try:
        on_epoch(result)
    except Exception as error:
        raise _CallersError(error) from error


def _describe_failure(error: Exception, failure: Failure, device: torch.device) -> str:
    """Return in one line why a trial failed."""
    text = in_one_line(error)
    if failure == "diverged":
        return text
    return f"out of memory on {device}: {text}" if failure == "memory" else f"{type(error).__name__}: {text}"


def _write_record(
    trial: Trial, found: Findings, cost: Cost, memory_method: str, wall_s: float, started_at: str
) -> TrialRecord:
    architecture, num_epochs = trial.architecture, len(found.history)
    validation = _score(trial, found) if found.reason is None else None
    return TrialRecord(
        architecture=architecture.to_dict(),
        architecture_id=architecture.id,
        architecture_hash=architecture.hash,
        seed=trial.seed,
        epochs=trial.config.train.epochs,
        first_epoch=found.first_epoch,
        status="failed" if found.reason else "complete",
        reason=found.reason,
        traceback=found.traceback,
        failure=found.failure,
        warnings=tuple(found.warnings),
        accuracy=validation.accuracy if validation else None,
        loss=validation.loss if validation else None,
        miou=validation.miou if validation else None,
        miou_by_size=validation.miou_by_size if validation else None,
        test_accuracy=found.test.accuracy if found.test else None,
        test_loss=found.test.loss if found.test else None,
        test_miou=found.test.miou if found.test else None,
        test_miou_by_size=found.test.miou_by_size if found.test else None,
        history=tuple(found.history),
        params=cost.params,
        macs=cost.macs,
        wall_s=wall_s,
        images_per_s=num_epochs * trial.num_seen / found.train_s if num_epochs else None,
        memory_bytes=found.memory_bytes,
        memory_method=memory_method,
        latency=found.latency,
        device=describe_device(trial.device),
        precision=trial.precision,
        accumulation=found.accumulation,
        compiling=str(trial.compiling),
        num_train=len(trial.train_index),
        num_validation=len(trial.validation_index),
        num_test=len(trial.dataset.test_labels),
        data_sha256=trial.dataset.sha256,
        versions=describe_versions(trial.device),
        started_at=started_at,
    )


def _score(trial: Trial, found: Findings) -> Score | None:
    """Return the mean of the last epochs that count; of objects by their size, the last epoch alone."""
    last = found.history[-trial.config.train.num_scored :]
    if found.validation is None or len(last) == 1:
        return found.validation
    mious = [result.miou for result in last if result.miou is not None]
    return replace(
        found.validation,
        accuracy=fmean(result.accuracy for result in last),
        loss=fmean(result.loss for result in last),
        miou=fmean(mious) if mious else None,
    )
