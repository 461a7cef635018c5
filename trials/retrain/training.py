"""A training in one of its processes, from where it was left to its end."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from json import dumps
from typing import Any

import torch

from search_spaces import InputError, measure_cost
from trials.compiling import decide_compiling
from trials.devices import describe_device, describe_versions, pick_precision
from trials.failure import DivergedError
from trials.parameter_groups import placed_parameters
from trials.retrain.batching import Batching
from trials.retrain.course import EpochSoFar, Past
from trials.retrain.folder import Folder
from trials.retrain.job import Job
from trials.retrain.learner import Learner
from trials.retrain.place import Place
from trials.retrain.progress import ProgressLine
from trials.retrain.reading import num_workers
from trials.retrain.record import RetrainEpoch, RetrainRecord
from trials.retrain.schedule import lr_share, warmup_steps
from trials.retrain.scoring import score
from trials.retrain.stopping import Stop, StoppedTrainingError
from trials.retrain.task import Setting

OnEpoch = Callable[[RetrainEpoch], None]

LOOKED_AT_EVERY = 20
"""Steps from one look at the loss to the next on CUDA, where a look waits for the device."""


class Training:
    """Prepares everything a user may have got wrong, then trains.

    Args:
        job: what is trained.
        place: of this process.
        stop: whether it was told to stop.
        on_epoch: called in the first process after each epoch.
        shown: whether the first process says how far it is.

    Raises:
        InputError: data, architecture and recipe do not fit.
    """

    def __init__(self, job: Job, place: Place, stop: Stop, on_epoch: OnEpoch | None, shown: bool) -> None:
        recipe = job.recipe
        self._job, self._place, self._stop, self._on_epoch = job, place, stop, on_epoch
        self._precision = pick_precision(recipe.precision, place.device)
        workers = num_workers(job.workers, place)
        self._task = recipe.prepare(
            Setting(job.architecture, job.seed, place, self._precision, job.data_dir, workers, job.backbone)
        )
        self._batching = Batching(recipe.batch_size, place.world_size, recipe.accumulation)
        self._steps = self._batching.count_steps(self._task.order(1))
        self._total = recipe.iterations or (recipe.epochs or 0) * self._steps
        self._num_epochs = math.ceil(self._total / self._steps)
        self._unit = 1 if recipe.iterations else self._steps
        if (warmup := warmup_steps(self._unit, recipe.schedule)) >= self._total:
            raise InputError(f"the warm-up of {warmup:g} steps must be shorter than the training's {self._total}")
        self._cost = measure_cost(job.architecture)
        self._compiling = decide_compiling(
            recipe.compile, place.device, self._cost.macs, self._total * recipe.batch_size
        )
        self._folder = Folder(job)
        self._progress = ProgressLine(self._total, self._num_epochs, shown and place.is_first)
        self._past, self._epoch = Past(), EpochSoFar()
        self._start = self._kept_at = time.monotonic()

    @property
    def identity(self) -> dict[str, str]:
        """What must be the same for a training to go on."""
        job = self._job
        return {
            "architecture": job.architecture.hash,
            "recipe": job.recipe.hash,
            "seed": str(job.seed),
            "data": self._task.data_sha256,
            "backbone": "" if job.backbone is None else job.backbone.name,
        }

    def run(self) -> RetrainRecord:
        """Train from where it was left; return the record, which the first process has written.

        Raises:
            InputError: the folder is of another training, or data are missing or damaged.
            DivergedError: the loss is not finite.
            StoppedTrainingError: it was told to stop.
        """
        if (finished := self._claim()) is not None:
            return finished
        self._shelf = self._folder.shelf(self.identity)
        learner = self._learner()
        self._go_on(learner)
        with self._progress:
            while self._epoch.number <= self._num_epochs:
                self._train(learner)
                self._end_epoch(learner)
        return self._finish(learner)

    def _claim(self) -> RetrainRecord | None:
        """Take the folder in the first process; what it finds wrong there ends all of them."""
        refused, finished = "", False
        if self._place.is_first:
            try:
                self._folder.claim(self.identity)
                finished = self._folder.record() is not None
            except InputError as error:
                refused = str(error)
        refused, finished = self._place.gather_json([refused, finished])[0]
        if refused:
            raise InputError(refused)
        if finished:
            self._progress.say(f"{self._folder.path} holds this training, finished")
        return self._folder.record() if finished else None

    def _learner(self) -> Learner:
        job, model = self._job, self._task.build()
        placed = placed_parameters(job.architecture, model) if job.recipe.optimizer.attention_lr != 1 else frozenset()
        return Learner(
            model, self._task, job.recipe, self._place, self._precision, placed=placed, compiled=self._compiling.is_on
        )

    # What is kept

    def _go_on(self, learner: Learner) -> None:
        """Take up the newest checkpoint that is whole, if there is one."""
        step = -1
        if self._place.is_first:
            self._shelf.tidy()
            found = self._shelf.latest()
            step = found[0] if found else -1
        step, damaged = self._place.gather_json([step, self._shelf.damaged])[0]
        if step >= 0:
            kept = self._shelf.read(step).state
            same = learner.restore(kept["learner"])
            own = kept["epochs"][self._place.rank if same else 0]
            self._epoch = EpochSoFar(**own)
            self._past = Past.from_dict(kept["past"])
            self._past.runs += 1
            if not same:
                self._warn(f"from step {step} on with {self._place.world_size} processes instead of another number")
            self._progress.say(f"going on from step {step} of {self._total}")
        for text in damaged:
            self._warn(text)

    def _keep(self, learner: Learner) -> bool:
        """Write a checkpoint; return whether that went well. A full disk is no reason to end a training."""
        epochs = self._place.gather_json(asdict(self._epoch))
        learnt = learner.state()
        wall_s = self._past.wall_s + time.monotonic() - self._start
        past = self._past.to_dict() | {"wall_s": wall_s}
        done = (self._epoch.number - 1) * self._steps + self._epoch.step
        self._kept_at = time.monotonic()
        if not self._place.is_first:
            return True
        try:
            self._shelf.write(done, self._epoch.number, {"learner": learnt, "epochs": epochs, "past": past})
        except OSError as error:
            self._warn(f"no checkpoint could be written, and the training went on: {error.strerror or error}")
            return False
        return True

    def _warn(self, text: str) -> None:
        if text not in self._past.warnings:
            self._past.warnings.append(text)
            self._progress.say(f"warning: {text}")

    # What is learnt

    def _train(self, learner: Learner) -> None:
        """Train from where the epoch is to its end."""
        at, place, recipe = self._epoch, self._place, self._job.recipe
        end = min(self._steps, self._total - (at.number - 1) * self._steps)
        parts = self._batching.parts(self._task.order(at.number), at.number, at.step, end, place.rank)
        batches = self._task.batches(parts)
        losses: list[torch.Tensor] = []
        begin = time.perf_counter()
        try:
            while at.step < end:
                done = (at.number - 1) * self._steps + at.step
                at.lr = recipe.optimizer.lr * lr_share(done, self._total, self._unit, recipe.schedule)
                losses.append(learner.step(self._waited(batches), recipe.accumulation, at.lr))
                at.step += 1
                stop, due = place.any_of(bool(self._stop), place.is_first and self._is_time())
                if stop or due or self._looks(at.step) or at.step == end:
                    begin = self._look(losses, begin)
                if (
                    stop or due or at.step == end
                ):  # before the network is scored, which may take longer than a kill waits
                    kept = self._keep(learner)
                    if stop:
                        raise self._stopped(kept)
                    begin = time.perf_counter()
        finally:
            if hasattr(batches, "close"):
                batches.close()

    def _waited(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the parts of one step, and note how long they were waited for."""
        for _ in range(self._job.recipe.accumulation):
            start = time.perf_counter()
            batch = next(batches)
            self._epoch.waited_s += time.perf_counter() - start
            yield batch

    def _is_time(self) -> bool:
        return time.monotonic() - self._kept_at >= self._job.recipe.checkpoint_s

    def _looks(self, step: int) -> bool:
        return self._place.device.type == "cpu" or step % LOOKED_AT_EVERY == 0

    def _look(self, losses: list[torch.Tensor], begin: float) -> float:
        """Add up the losses since the last look, and show them; return the time.

        Raises:
            DivergedError: one is not finite.
        """
        at = self._epoch
        values = torch.stack(losses).double().cpu().tolist()  # waits for the device
        losses.clear()
        for value in values:  # one after the other: a sum must not depend on when it was looked at
            at.loss_sum += value
        diverged = self._place.any_of(not all(map(math.isfinite, values)))[0]
        if diverged:
            raise DivergedError(
                f"the training loss was not finite in epoch {at.number} of {self._num_epochs}, at step {at.step} or "
                f"before, with a learning rate of {at.lr:.4g}; a lower `lr`, a longer `warmup` or `clip_norm` may help"
            )
        now = time.perf_counter()
        at.train_s += now - begin
        done = (at.number - 1) * self._steps + at.step
        speed = at.images_per_s(self._job.recipe.batch_size)
        self._progress.step(done, at.number, values[-1], speed, at.waiting_share)
        return now

    def _stopped(self, kept: bool) -> StoppedTrainingError:
        at = self._epoch
        where = f"epoch {at.number} of {self._num_epochs}, step {at.step} of {self._steps}"
        how = "the same command goes on from there" if kept else "the same command goes on from the last checkpoint"
        # Another process may have been told alone: then this one ends as if by SIGTERM.
        return StoppedTrainingError(self._stop.number or 15, f"stopped in {where}; {how} ({self._folder.path})")

    # What it comes to

    def _end_epoch(self, learner: Learner) -> None:
        """Score the network if it is time to, and go on to the next epoch."""
        at, place, recipe = self._epoch, self._place, self._job.recipe
        start = time.perf_counter()
        learner.synchronise()
        is_last = at.number == self._num_epochs
        is_due = is_last or at.number % recipe.evaluate_every == 0
        metrics = score(self._task, learner.scored, place, self._precision) if is_due else None
        total = float(place.add_up(torch.tensor(at.loss_sum, dtype=torch.float64)))
        wall_s = at.train_s + time.perf_counter() - start
        result = RetrainEpoch(
            epoch=at.number,
            step=(at.number - 1) * self._steps + at.step,
            train_loss=total / (at.step * place.world_size),
            lr=at.lr,
            metrics=metrics,
            images_per_s=at.images_per_s(recipe.batch_size),
            waiting_share=at.waiting_share,
            wall_s=wall_s,
        )
        self._past.add(at, result)
        self._epoch = EpochSoFar(at.number + 1)
        if place.is_first:
            self._folder.write_history(self._past.history)
            self._progress.epoch(result)
            if self._on_epoch is not None:
                self._on_epoch(result)

    def _finish(self, learner: Learner) -> RetrainRecord:
        learner.synchronise()
        record = self._record()
        if self._place.is_first:
            self._folder.finish(learner.scored, self._metadata(), record)
            if not self._job.keep_checkpoints:
                self._shelf.clear()
        self._place.barrier()
        return record

    def _metadata(self) -> dict[str, str]:
        architecture = self._job.architecture
        return {
            "architecture": dumps(architecture.to_dict()),
            "architecture_id": architecture.id,
            "architecture_hash": architecture.hash,
            "seed": str(self._job.seed),
            "epochs": str(self._num_epochs),
            "recipe": self._job.recipe_name,
            **self._task.metadata,
        }

    def _record(self) -> RetrainRecord:
        job, past, place = self._job, self._past, self._place
        last = past.history[-1]
        assert last.metrics is not None
        return RetrainRecord(
            architecture=job.architecture.to_dict(),
            architecture_id=job.architecture.id,
            architecture_hash=job.architecture.hash,
            recipe_name=job.recipe_name,
            recipe=job.recipe.to_dict(),
            recipe_hash=job.recipe.hash,
            task=job.recipe.task,
            seed=job.seed,
            metric=self._task.metric.name,
            maximise=self._task.metric.maximise,
            split=self._task.split,
            metrics=last.metrics,
            history=tuple(past.history),
            params=self._cost.params,
            macs=self._cost.macs,
            num_train=self._task.num_items,
            data_sha256=self._task.data_sha256,
            processes=place.world_size,
            accumulation=job.recipe.accumulation,
            part_size=self._batching.part_size,
            device=describe_device(place.device),
            precision=self._precision,
            compiling=str(self._compiling),
            versions=describe_versions(place.device),
            images_per_s=last.step * job.recipe.batch_size / max(past.train_s, 1e-9),
            waiting_share=past.waited_s / max(past.train_s, 1e-9),
            wall_s=past.wall_s + time.monotonic() - self._start,
            runs=past.runs,
            warnings=tuple(past.warnings),
            started_at=past.started_at,
        )
