"""The ledger: an Optuna study, and the only record of what was proposed, run and found.

One driver writes to it, under `nas.driver_lock`; workers never see it. Every step is one write of the
storage, and each leaves a state that the next driver can go on from:

    waiting --take--> running --record--> result stored --tell--> complete or failed        (refused: failed
    at once)

With early stopping a trial is trained in legs, from rung to rung (`nas.early_stopping`):

    running --record--> paused --go_on--> waiting ...        or        paused --stop--> result stored --tell--> stopped

A stopped trial is told as complete, with the values that it had, and with the constraint `unfinished` = 1 - epoch /
epochs, which keeps it off Optuna's front and behind what was finished.

A trial that was running when its driver died goes back to waiting under its own number; one whose result was
stored is told from it and not run again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.ledger_trial import RUNG, Counts, Proposal, Role, record_of, rung_results, state_of, target_of
from nas.parameters import Draw
from nas.quiet import quiet_optuna
from reports.objectives import OBJECTIVES
from search_spaces import Architecture
from search_spaces.errors import InputError
from trials.record import TrialRecord

Key = tuple[str, int, int]  # architecture's hash, seed, epochs: what is measured once


class Ledger:
    """The trials of one study; see the module for the life of a trial.

    Make it with `open` (to write) or `load` (to look).
    """

    def __init__(self, storage: BaseStorage, name: str, objectives: tuple[str, ...]) -> None:
        self.objectives = objectives
        self._storage = storage
        self._study = optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler())
        self._id = storage.get_study_id_from_name(name)
        self._architectures: dict[str, Architecture] = {}

    @classmethod
    def open(
        cls,
        storage: BaseStorage,
        name: str,
        objectives: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open the study `name`, making it where it is missing.

        Args:
            objectives: Names in `reports.objectives.OBJECTIVES`; the order of every trial's values.
            attributes: JSON-able facts about the study (experiment, version, ...), each stored unless it is
                there already.
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
        return cls(storage, name, tuple(objectives))

    @classmethod
    def load(cls, storage: BaseStorage, name: str) -> Self:
        """Open the study `name` as it is; nothing is written.

        Raises:
            InputError: There is no such study, or its driver died while making it.
        """
        for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
            if study.study_name == name and "objectives" in study.user_attrs:
                return cls(storage, name, tuple(study.user_attrs["objectives"]))
        raise InputError(f"there is no study {name!r} yet")

    @property
    def attributes(self) -> dict[str, Any]:
        """The study's own attributes."""
        return self._study.user_attrs

    @property
    def directions(self) -> list[StudyDirection]:
        """Optuna's direction of each objective; values are stored in natural units."""
        return self._study.directions

    def set_attribute(self, key: str, value: Any) -> None:
        """Store a JSON-able fact about the study, replacing what was there."""
        self._study.set_user_attr(key, value)

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
        waiting = [t for t in self.trials() if state_of(t) == "waiting"]
        if not waiting:
            return None
        first = min(waiting, key=lambda t: (-len(rung_results(t)), t.number))
        self._storage.set_trial_state_values(self._trial_id(first.number), TrialState.RUNNING)
        return self._proposal(first)

    def unfinished(self) -> list[Proposal]:
        """Return what is queued, running or paused, in order."""
        return [self._proposal(t) for t in self.trials() if state_of(t) in ("waiting", "running", "paused")]

    # What came out

    def record(self, number: int, record: TrialRecord) -> None:
        """Store the result of trial `number`; `tell` then passes it on to the sampler in its turn.

        The result of a rung pauses the trial, unless it failed.
        """
        trial_id = self._trial_id(number)
        at_rung = record.epochs < self._storage.get_trial(trial_id).user_attrs["epochs"]
        if not at_rung or self._failure(record) is not None:
            self._storage.set_trial_user_attr(trial_id, "record", record.to_dict())
            return
        self._storage.set_trial_user_attr(trial_id, f"{RUNG}{record.epochs}", record.to_dict())
        self._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def go_on(self, number: int, *, spared: bool = False) -> None:
        """Queue a paused trial for its next leg. `spared`: although it should have been stopped, and to its end."""
        trial = self._study.get_trials(deepcopy=False)[number]
        if spared:
            self._storage.set_trial_user_attr(self._trial_id(number), "spared", target_of(trial))
        later = [*trial.user_attrs["rungs"], trial.user_attrs["epochs"]]
        following = next(epochs for epochs in later if epochs > target_of(trial))
        self._storage.set_trial_user_attr(self._trial_id(number), "target", following)

    def stop(self, number: int) -> None:
        """Stop a paused trial where it stands; `tell` then passes on what it has."""
        epochs = target_of(self._study.get_trials(deepcopy=False)[number])
        self._storage.set_trial_user_attr(self._trial_id(number), "stopped", epochs)

    def stopped(self, number: int) -> tuple[Proposal, TrialRecord]:
        """Return a stopped trial and what it has."""
        trial = self._study.get_trials(deepcopy=False)[number]
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
        for trial in self.trials():
            if trial.state.is_finished():
                continue
            proposed = trial.user_attrs["role"] == "proposal"
            if "record" not in trial.user_attrs and "stopped" not in trial.user_attrs:
                held_back |= proposed and in_order
            elif not (held_back and proposed):
                self._finish(trial)
                told.append(trial.number)
        return told

    def release(self) -> None:
        """Put what is running back into the queue: the clean end of a driver that stops early."""
        for trial in self.trials():
            was_pausing = state_of(trial) == "paused" and trial.state == TrialState.RUNNING
            if state_of(trial) == "running" or was_pausing:
                self._storage.set_trial_state_values(self._trial_id(trial.number), TrialState.WAITING)

    def recover(self, *, in_order: bool) -> None:
        """Take over from a driver that may have died at any moment: call it first, under the driver lock.

        Stored results are told, running trials queued again, and trials that hold no proposal (made by other
        programs, or left half-made by them) failed.
        """
        for trial in self._study.get_trials(deepcopy=False):
            if "role" not in trial.user_attrs and not trial.state.is_finished():
                trial_id = self._trial_id(trial.number)
                self._storage.set_trial_user_attr(trial_id, "refused", "interrupted while being proposed")
                self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        self.tell(in_order=in_order)
        self.release()

    # What there is

    def trials(self, role: Role | None = None) -> list[FrozenTrial]:
        """Return the trials (of one role), refused ones too, in order; no copies: do not change them."""
        return [
            t
            for t in self._study.get_trials(deepcopy=False)
            if "role" in t.user_attrs and role in (None, t.user_attrs["role"])
        ]

    def known(self) -> dict[Key, int]:
        """Return what is queued, running, finished or failed (but not refused), and under which number."""
        return {
            (t.user_attrs["hash"], t.user_attrs["seed"], t.user_attrs["epochs"]): t.number
            for t in self.trials()
            if "refused" not in t.user_attrs
        }

    def counts(self, role: Role = "proposal") -> Counts:
        """Count the trials of `role` by state; what counts as trained is `complete`."""
        states = [state_of(t) for t in self.trials(role)]
        return Counts(**{state: states.count(state) for state in set(states)})

    def architecture(self, trial: FrozenTrial) -> Architecture:
        """Return what `trial` builds; it must not be refused."""
        key = trial.user_attrs["hash"]
        if key not in self._architectures:
            self._architectures[key] = Architecture.from_dict(trial.user_attrs["architecture"])
        return self._architectures[key]

    def values(self, record: TrialRecord) -> tuple[float, ...] | None:
        """Return a record's objectives in natural units; None if it failed or one is missing or infinite."""
        return None if self._failure(record) else tuple(self._value(o, record) for o in self.objectives)

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
        return self._storage.get_trial(self._storage.create_new_trial(self._id, trial)).number

    def _finish(self, trial: FrozenTrial) -> None:
        trial_id = self._trial_id(trial.number)
        record = record_of(trial)
        assert record is not None
        reason = self._failure(record)
        if reason is None:
            if state_of(trial) == "stopped":
                unfinished = 1 - record.epochs / trial.user_attrs["epochs"]
                optuna.Trial(self._study, trial_id).set_constraint("unfinished", unfinished)
            values = self.values(record)
            self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, values)
        else:
            self._storage.set_trial_user_attr(trial_id, "reason", reason)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

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

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)


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
