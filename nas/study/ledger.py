"""The ledger: an Optuna study, and the only record of what was proposed, run and found.

One driver writes to it, under `nas.study.driver_lock`; workers never see it. Every step is one write of the
storage, and each leaves a state that the next driver can go on from:

    waiting --take--> running --record--> result stored --tell--> complete or failed        (refused: failed
    at once)

With early stopping a trial is trained in legs, from rung to rung (`nas.proposals.early_stopping`):

    running --record--> paused --go_on--> waiting ...        or        paused --stop--> result stored --tell--> stopped

A stopped trial is told as complete, with the values that it had, and with the constraint `unfinished` = 1 - epoch /
epochs, which keeps it off Optuna's front and behind what was finished.

A trial that was running when its driver died goes back to waiting under its own number; one whose result was
stored is told from it and not run again.

The storage is read once, on opening; after that each write goes through to it and into an index in memory
(`nas.study.ledger_index`), which answers every question.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.proposals.parameters import Draw
from nas.study.ledger_index import UNFINISHED, Changes, Key, LedgerIndex
from nas.study.ledger_trial import RUNG, Counts, Proposal, Role, State, record_of, rung_results, state_of, target_of
from nas.study.live_front import LiveFront
from nas.study.quiet import quiet_optuna
from reports.objectives import OBJECTIVES
from search_spaces import Architecture
from search_spaces.errors import InputError
from trials.record import TrialRecord


class Ledger:
    """The trials of one study; see the module for the life of a trial.

    Make it with `open` (to write) or `load` (to look).
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        objectives: tuple[str, ...],
        check: Callable[[], None] | None = None,
    ) -> None:
        self.objectives = objectives
        self._check = check
        self._storage = storage
        self._study = optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler())
        self._id = storage.get_study_id_from_name(name)
        self._directions = storage.get_study_directions(self._id)
        self._attributes = dict(storage.get_study_user_attrs(self._id))
        self._index = LedgerIndex(storage.get_all_trials(self._id, deepcopy=False))
        self._architectures: dict[str, Architecture] = {}
        self._rung_values: dict[int, dict[int, tuple[float, ...]]] = {}

    @classmethod
    def open(
        cls,
        storage: BaseStorage,
        name: str,
        objectives: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        check: Callable[[], None] | None = None,
    ) -> Self:
        """Open the study `name`, making it where it is missing.

        Args:
            objectives: Names in `reports.objectives.OBJECTIVES`; the order of every trial's values.
            attributes: JSON-able facts about the study (experiment, version, ...), each stored unless it is
                there already.
            check: raises InputError if another driver has taken over the study.
        """
        with quiet_optuna():
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                sampler=RandomSampler(),
                directions=["maximize" if OBJECTIVES[o].maximise else "minimize" for o in objectives],
                load_if_exists=True,
            )
            if study.metric_names is None:
                study.set_metric_names(list(objectives))
        for key, value in {"objectives": list(objectives), **(attributes or {})}.items():
            if key not in study.user_attrs:
                study.set_user_attr(key, value)
        return cls(storage, name, tuple(objectives), check)

    @classmethod
    def load(cls, storage: BaseStorage, name: str) -> Self:
        """Open the study `name` as it is; nothing is written.

        Raises:
            InputError: There is no such study, or its driver died while making it.
        """
        try:
            facts = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
        except KeyError:
            facts = {}
        if "objectives" not in facts:
            raise InputError(f"there is no study {name!r} yet")
        return cls(storage, name, tuple(facts["objectives"]))

    def check_driver(self) -> None:
        """Raise InputError if another driver has taken over the study. A write checks that by itself."""
        if self._check:
            self._check()

    @cached_property
    def front(self) -> LiveFront:
        """The front of the complete trials; it stays up to date."""
        return LiveFront(self.changes(), self.objectives)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The study's own attributes."""
        return self._attributes

    @property
    def directions(self) -> list[StudyDirection]:
        """Optuna's direction of each objective; values are stored in natural units."""
        return self._directions

    def set_attribute(self, key: str, value: Any) -> None:
        """Store a JSON-able fact about the study, replacing what was there."""
        self._storage.set_study_user_attr(self._id, key, value)
        self._attributes[key] = json.loads(json.dumps(value))  # as whoever reads it will see it

    # What is to be run

    def add(self, architecture: Architecture, *, label: str | None, seed: int, epochs: int) -> int:
        """Queue a baseline and return its number; what is known at that seed and length is not queued again.

        It has no parameters, since it need not lie in the space; the proposer finds those of one that does.
        """
        known = self.known().get((architecture.hash, seed, epochs))
        if known is not None:
            return known
        return self._create(TrialState.WAITING, _job(architecture, "baseline", label, seed, epochs))

    def propose(
        self,
        architecture: Architecture,
        draw: Draw,
        *,
        seed: int,
        epochs: int,
        batch: tuple[int, int],
        rungs: Sequence[int] = (),
    ) -> int:
        """Queue what the sampler drew as the next of `batch` (its number, its size); return its number.

        Args:
            rungs: epochs at which it pauses for a decision, in order, all below `epochs`.
        """
        job = _job(architecture, "proposal", None, seed, epochs)
        legs = {"rungs": list(rungs)} if rungs else {}
        return self._create(TrialState.WAITING, {**job, "batch": list(batch), **legs}, draw)

    def refuse(self, reason: str, draw: Draw) -> int:
        """Note that what the sampler drew is not to be trained, and return its number."""
        return self._create(TrialState.FAIL, {"role": "proposal", "refused": reason}, draw)

    def take(self) -> Proposal | None:
        """Hand out the queued trial that has come furthest, of those the lowest number, as running; None: none is."""
        waiting = self._index.in_state("waiting")
        if not waiting:
            return None
        first = min(waiting, key=lambda t: (-len(rung_results(t)), t.number))
        self._set_state(first, TrialState.RUNNING)
        return self._proposal(first)

    def unfinished(self) -> list[Proposal]:
        """Return what is queued, running or paused, in order."""
        return [self._proposal(t) for t in self._index.in_state(*UNFINISHED)]

    # What came out

    def record(self, number: int, record: TrialRecord) -> None:
        """Store the result of trial `number`; `tell` then passes it on to the sampler in its turn.

        The result of a rung pauses the trial, unless it failed.
        """
        trial = self._index[number]
        if record.epochs >= trial.user_attrs["epochs"] or self._failure(record) is not None:
            self._set_attr(trial, "record", record.to_dict())
            return
        self._set_attr(trial, f"{RUNG}{record.epochs}", record.to_dict())
        self._set_state(trial, TrialState.WAITING)

    def go_on(self, number: int, *, spared: bool = False) -> None:
        """Queue a paused trial for its next leg. `spared`: although it should have been stopped, and to its end."""
        trial = self._index[number]
        if spared:
            self._set_attr(trial, "spared", target_of(trial))
        later = [*trial.user_attrs["rungs"], trial.user_attrs["epochs"]]
        self._set_attr(trial, "target", next(epochs for epochs in later if epochs > target_of(trial)))

    def stop(self, number: int) -> None:
        """Stop a paused trial where it stands; `tell` then passes on what it has."""
        trial = self._index[number]
        self._set_attr(trial, "stopped", target_of(trial))

    def stopped(self, number: int) -> tuple[Proposal, TrialRecord]:
        """Return a stopped trial and what it has."""
        trial = self._index[number]
        record = record_of(trial)
        assert record is not None, "it was not stopped"
        return self._proposal(trial), record

    def tell(self, *, in_order: bool) -> list[int]:
        """Finish the trials whose results are stored, and return their numbers.

        Args:
            in_order: Finish a proposal only after all that were proposed before it, so that the sampler sees
                the same whatever worker is faster. Baselines never wait.
        """
        told = []
        held_back = False
        for trial in self._index.untold():
            proposed = trial.user_attrs["role"] == "proposal"
            if "record" not in trial.user_attrs and "stopped" not in trial.user_attrs:
                held_back |= proposed and in_order
            elif not (held_back and proposed):
                self._finish(trial)
                told.append(trial.number)
        return told

    def release(self) -> None:
        """Put what is running back into the queue: the clean end of a driver that stops early."""
        for trial in self._index.in_state("running", "paused"):
            if trial.state == TrialState.RUNNING:  # a paused one too, if its driver died in the middle of pausing it
                self._set_state(trial, TrialState.WAITING)

    def recover(self, *, in_order: bool) -> None:
        """Take over from a driver that may have died at any moment: call it first, under the driver lock.

        Stored results are told, running trials queued again, and trials that hold no proposal (made by other
        programs, or left half-made by them) failed.
        """
        for trial in self._index.foreign():
            self._set_attr(trial, "refused", "interrupted while being proposed")
            self._set_state(trial, TrialState.FAIL)
        self.tell(in_order=in_order)
        self.release()

    # What there is

    def trials(self, role: Role | None = None) -> list[FrozenTrial]:
        """Return the trials (of one role), refused ones too, in order; no copies: do not change them."""
        return self._index.trials(role)

    def latest(self, role: Role) -> Iterable[FrozenTrial]:
        """Return the trials of a role, refused ones too, the last first."""
        return self._index.latest(role)

    def num_asked(self) -> int:
        """Return how many proposals there are, refused ones too."""
        return self._index.num("proposal")

    def in_state(self, *states: State) -> list[FrozenTrial]:
        """Return the trials that wait, run or are paused, as asked for, in order."""
        return self._index.in_state(*states)

    def untold(self) -> list[FrozenTrial]:
        """Return the trials that are not finished yet, those too whose results wait to be told, in order."""
        return self._index.untold()

    def changes(self) -> Changes:
        """Return what tells, whenever it is asked, which trials changed since; at first it tells all."""
        return Changes(self._index)

    def known(self) -> Mapping[Key, int]:
        """Return what is queued, running, finished or failed, not refused, and under which number; it stays true."""
        return self._index.known

    def counts(self, role: Role = "proposal") -> Counts:
        """Count the trials of `role` by state; what counts as trained is `complete`."""
        return self._index.counts(role)

    def architecture(self, trial: FrozenTrial) -> Architecture:
        """Return what `trial` builds; it must not be refused."""
        key = trial.user_attrs["hash"]
        if key not in self._architectures:
            self._architectures[key] = Architecture.restore(trial.user_attrs["architecture"], key)
        return self._architectures[key]

    def values(self, record: TrialRecord) -> tuple[float, ...] | None:
        """Return a record's objectives in natural units; None if it failed or one is missing or infinite."""
        return None if self._failure(record) else tuple(self._value(o, record) for o in self.objectives)

    def rung_values(self, trial: FrozenTrial) -> dict[int, tuple[float, ...]]:
        """Return the objectives in natural units at the rungs that a trial has reached, by their epochs."""
        results = rung_results(trial)
        for epochs in results.keys() - self._rung_values.setdefault(trial.number, {}).keys():
            values = self.values(TrialRecord.from_dict(results[epochs]))
            assert values is not None, "a failure is no rung's result"
            self._rung_values[trial.number][epochs] = values
        return {epochs: self._rung_values[trial.number][epochs] for epochs in results}

    def _create(self, state: TrialState, attrs: dict[str, Any], draw: Draw | None = None) -> int:
        trial = create_trial(state=state, user_attrs=attrs)
        if draw is not None:
            trial = create_trial(
                state=state,
                params=dict(draw.params),
                distributions=dict(draw.distributions),
                user_attrs={**attrs, "indices": [int(i) for i in draw.indices]},
                system_attrs=dict(draw.system_attrs),
            )
        return self._take_in(self._storage.create_new_trial(self._id, trial))

    def _set_attr(self, trial: FrozenTrial, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(trial._trial_id, key, value)
        self._take_in(trial._trial_id)

    def _set_state(self, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._storage.set_trial_state_values(trial._trial_id, state, values)
        self._take_in(trial._trial_id)

    def _take_in(self, trial_id: int) -> int:
        """Bring the index up to date with a trial that was written, and return its number."""
        trial = self._storage.get_trial(trial_id)
        if trial.number > len(self._index):  # another program made trials too
            for other in self._storage.get_all_trials(self._id, deepcopy=False)[len(self._index) : trial.number]:
                self._index.put(other)
        self._index.put(trial)
        return trial.number

    def _finish(self, trial: FrozenTrial) -> None:
        record = record_of(trial)
        assert record is not None
        reason = self._failure(record)
        if reason is not None:
            self._set_attr(trial, "reason", reason)
            self._set_state(trial, TrialState.FAIL)
            return
        if state_of(trial) == "stopped":
            unfinished = 1 - record.epochs / trial.user_attrs["epochs"]
            optuna.Trial(self._study, trial._trial_id).set_constraint("unfinished", unfinished)
        self._set_state(trial, TrialState.COMPLETE, self.values(record))

    def _failure(self, record: TrialRecord) -> str | None:
        if record.status == "failed":
            return record.reason or "failed without a reason"
        for objective in self.objectives:
            if not math.isfinite(self._value(objective, record)):
                return f"{objective} was not measured, or is not finite"
        return None

    def _value(self, objective: str, record: TrialRecord) -> float:
        value = OBJECTIVES[objective].value(record)
        return math.nan if value is None else float(value)

    def _proposal(self, trial: FrozenTrial) -> Proposal:
        attrs = trial.user_attrs
        return Proposal(
            trial.number,
            self.architecture(trial),
            attrs["seed"],
            attrs["epochs"],
            attrs["role"],
            attrs["label"],
            target_of(trial),
            tuple(attrs.get("rungs", ())),
        )


def _job(architecture: Architecture, role: Role, label: str | None, seed: int, epochs: int) -> dict[str, Any]:
    return {
        "role": role,
        "label": label,
        "id": architecture.id,
        "hash": architecture.hash,
        "seed": seed,
        "epochs": epochs,
        "architecture": architecture.to_dict(),
    }
