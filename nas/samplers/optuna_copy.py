"""Optuna's samplers, and those that are written as such, on a copy of the study in memory.

There they see only what they can work with (a finished trial without parameters would empty the intersection of
parameters that Optuna's NSGA-II inherits, and turn it into random search without a word), and nothing is half asked:
the study receives a proposal in one write, complete, so that a kill leaves it or does not.

Each draw has a seed of its own and a newly made sampler, so that a restarted search draws what it would have drawn.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Self

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.proposals.parameters import ByKnob, Draw, Encoding
from nas.samplers.sampler import BASELINE, RUNG_VALUES, Sampler
from nas.study.quiet import quiet_optuna
from search_spaces import SearchSpace

_NEVER = datetime.min
"""Samplers do not ask when; Optuna wants a time."""


class OptunaSampler(Sampler):
    """An Optuna sampler on a copy of what was asked.

    Args:
        make: Builds Optuna's sampler from a seed; called once per draw.
        encoding: The parameters it works on; the study records `ByKnob` in any case.
        generation: Proposals asked for at once in a deterministic search.
        learns_from_baselines: Whether it is shown the baselines that lie in the space.
    """

    learns = True

    def __init__(
        self,
        space: SearchSpace,
        directions: Sequence[StudyDirection],
        make: Callable[[int], BaseSampler],
        encoding: Encoding,
        generation: int,
        *,
        learns_from_baselines: bool = False,
    ) -> None:
        super().__init__(space)
        self._make, self._encoding, self.generation = make, encoding, generation
        self.learns_from_baselines = learns_from_baselines
        self._storage = InMemoryStorage()
        with quiet_optuna():
            self._copy = optuna.create_study(storage=self._storage, directions=list(directions), sampler=make(0))
        (self._id,) = (study._study_id for study in self._storage.get_all_studies())

    def follow(self, trials: Sequence[FrozenTrial], changed: Iterable[int] | None = None) -> None:
        copies = self._copy.get_trials(deepcopy=False)
        assert len(copies) <= len(trials), "a draw was not recorded"
        for position in range(len(copies)) if changed is None else sorted(changed):
            if position < len(copies) and _as_seen(trials[position]) != copies[position].state:
                self._tell(copies[position], trials[position])
        for trial in trials[len(copies) :]:
            params, distributions = self._encoding.restore(trial)
            attributes = {key: trial.user_attrs[key] for key in (RUNG_VALUES,) if key in trial.user_attrs}
            is_baseline = trial.user_attrs.get("role") == BASELINE
            self._copy.add_trial(
                _Shared(
                    number=-1,  # the storage gives the number and the id
                    trial_id=-1,
                    state=_as_seen(trial),
                    value=None,
                    values=trial.values,
                    datetime_start=trial.datetime_start or _NEVER,
                    datetime_complete=(trial.datetime_complete or _NEVER) if _as_seen(trial).is_finished() else None,
                    params=params,
                    distributions=distributions,
                    user_attrs={"role": BASELINE} if is_baseline else attributes,
                    system_attrs=trial.system_attrs,
                    intermediate_values={},
                )
            )

    def _tell(self, seen: FrozenTrial, trial: FrozenTrial) -> None:
        """Finish a copy, with the constraints and the rungs' values that came with its values."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, seen.number)
        for key in trial.system_attrs.keys() - seen.system_attrs.keys():
            self._storage.set_trial_system_attr(trial_id, key, trial.system_attrs[key])
        if RUNG_VALUES in trial.user_attrs:
            self._storage.set_trial_user_attr(trial_id, RUNG_VALUES, trial.user_attrs[RUNG_VALUES])
        self._copy.tell(seen.number, trial.values, state=_as_seen(trial))

    def draw(self, seed: int) -> Draw | None:
        self._copy.sampler = self._make(seed)
        trial = self._copy.ask()
        return self._recorded_draw(self._encoding.suggest(trial), trial)

    def adopt(self, indices: Sequence[int]) -> Draw:
        params, distributions = self._encoding.encode(indices)
        self._copy.add_trial(create_trial(state=TrialState.WAITING, params=params, distributions=distributions))
        return self._recorded_draw(tuple(indices), self._copy.ask())

    def _recorded_draw(self, indices: tuple[int, ...], trial: optuna.Trial) -> Draw:
        frozen = self._copy.get_trials(deepcopy=False)[trial.number]
        if isinstance(self._encoding, ByKnob):
            return Draw(indices, frozen.params, frozen.distributions, frozen.system_attrs)
        params, distributions = self._recorded.encode(indices)
        attributes = {**frozen.system_attrs, **self._encoding.attributes(frozen, indices)}
        return Draw(indices, params, distributions, attributes)


class _Shared(FrozenTrial):
    """A trial whose parameters belong to the ledger too; nobody changes them, and copies are not made.

    Optuna's storage would copy each deeply, which took most of the first draw of a search that goes on.
    """

    def __deepcopy__(self, memo: object) -> Self:
        return copy.copy(self)


def _as_seen(trial: FrozenTrial) -> TrialState:
    """Return the state in which a sampler sees a trial: what is queued or refused runs, for ever if refused.

    TPE keeps away from what runs, and overlooks what failed: told of refusals as failures, it repeated itself
    1,920 times on the way to 60 of 1,125 architectures; as running ones, 19 times. NSGA-II looks at finished
    trials only.
    """
    refused = "refused" in trial.user_attrs
    return trial.state if trial.state.is_finished() and not refused else TrialState.RUNNING
