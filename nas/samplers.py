"""Samplers by name: what proposes the next architecture.

A sampler draws option indices; the proposer (`nas.proposer`) refuses what breaks a limit or was measured
before. Optuna's samplers work on a copy of the study in memory, in which

- there are no baselines: a finished trial without parameters would empty the intersection of parameters that
  Optuna's NSGA-II inherits, and turn it into random search without a word;
- nothing is half asked: the study receives a proposal in one write, complete, so that a kill leaves it or
  does not.

Each draw has a seed of its own and a newly made sampler, so that a restarted search draws what it would have
drawn.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.parameters import ByKnob, ByOption, Draw, Encoding
from nas.quiet import quiet_optuna
from search_spaces import SearchSpace
from search_spaces.errors import InputError, unknown

MOST_TO_EXHAUST = 10_000


class Sampler(ABC):
    """What the proposer needs of a sampler.

    learns: whether draws depend on results; then a deterministic search asks for whole generations, and for the
        next after all results of the last.
    generation: proposals in one.
    """

    learns: bool = False
    generation: int = 1

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._recorded = ByKnob(space)

    def follow(self, trials: Sequence[FrozenTrial]) -> None:  # noqa: B027 (most need not)
        """Take note of all that was asked so far and its results.

        Args:
            trials: The ledger's proposals, refused ones too, in the order asked.
        """

    @abstractmethod
    def draw(self, seed: int) -> Draw | None:
        """Draw the next proposal, or None: take the next of the space, each once."""

    def adopt(self, indices: Sequence[int]) -> Draw:
        """Return `indices`, chosen by someone else, as if drawn."""
        params, distributions = self._recorded.encode(indices)
        return Draw(tuple(indices), params, distributions)


class RandomSampler(Sampler):
    """Draw uniformly over architectures within the limits (not over each parameter's values)."""

    def draw(self, seed: int) -> Draw | None:
        return self.adopt(self.space.sample_indices(np.random.default_rng(seed)))


class ExhaustiveSampler(Sampler):
    """Propose every architecture of a small space once, in an order shuffled by the search's seed.

    Raises:
        InputError: The space has more than 10,000 architectures.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        if space.size > MOST_TO_EXHAUST:
            raise InputError(
                f"sampler 'exhaustive' is for spaces of at most {MOST_TO_EXHAUST:,} architectures, and this "
                f"one has {space.size:,}; take 'nsga2' or 'random', or fewer choices"
            )

    def draw(self, seed: int) -> Draw | None:  # noqa: ARG002 (nothing is left to chance)
        return None


class OptunaSampler(Sampler):
    """One of Optuna's samplers, on a copy in memory of the study's proposals.

    Args:
        make: Builds Optuna's sampler from a seed; called once per draw.
        encoding: The parameters it works on; the study records `ByKnob` in any case.
        generation: Proposals asked for at once in a deterministic search.
    """

    learns = True

    def __init__(
        self,
        space: SearchSpace,
        directions: Sequence[StudyDirection],
        make: Callable[[int], BaseSampler],
        encoding: Encoding,
        generation: int,
    ) -> None:
        super().__init__(space)
        self._make, self._encoding, self.generation = make, encoding, generation
        with quiet_optuna():
            self._copy = optuna.create_study(directions=list(directions), sampler=make(0))

    def follow(self, trials: Sequence[FrozenTrial]) -> None:
        copies = self._copy.get_trials(deepcopy=False)
        assert len(copies) <= len(trials), "a draw was not recorded"
        for copy, trial in zip(copies, trials, strict=False):
            state = _as_seen(trial)
            if state != copy.state:
                self._copy.tell(copy.number, trial.values, state=state)
        for trial in trials[len(copies) :]:
            params, distributions = self._encoding.restore(trial)
            self._copy.add_trial(
                create_trial(
                    state=_as_seen(trial),
                    values=trial.values,
                    params=params,
                    distributions=distributions,
                    system_attrs=trial.system_attrs,
                )
            )

    def draw(self, seed: int) -> Draw | None:
        self._copy.sampler = self._make(seed)
        trial = self._copy.ask()
        return self._recorded_draw(self._encoding.suggest(trial), trial)

    def adopt(self, indices: Sequence[int]) -> Draw:
        params, distributions = self._encoding.encode(indices)
        self._copy.add_trial(create_trial(state=TrialState.WAITING, params=params, distributions=distributions))
        trial = self._copy.ask()
        # Optuna computes it late; NSGA-II notes here which generation the trial belongs to.
        _ = trial.relative_params
        return self._recorded_draw(tuple(indices), trial)

    def _recorded_draw(self, indices: tuple[int, ...], trial: optuna.Trial) -> Draw:
        frozen = self._copy.get_trials(deepcopy=False)[trial.number]
        if isinstance(self._encoding, ByKnob):
            return Draw(indices, frozen.params, frozen.distributions, frozen.system_attrs)
        params, distributions = self._recorded.encode(indices)
        attributes = {**frozen.system_attrs, **self._encoding.attributes(frozen, indices)}
        return Draw(indices, params, distributions, attributes)


def _as_seen(trial: FrozenTrial) -> TrialState:
    """Return the state in which a sampler sees a trial: what is queued or refused runs, for ever if refused.

    TPE keeps away from what runs, and overlooks what failed: told of refusals as failures, it repeated itself
    1,920 times on the way to 60 of 1,125 architectures; as running ones, 19 times. NSGA-II looks at finished
    trials only.
    """
    refused = "refused" in trial.user_attrs
    return trial.state if trial.state.is_finished() and not refused else TrialState.RUNNING


class PlacementNSGAII(NSGAIISampler):
    """NSGA-II (Deb et al., 2002) whose gene is a whole option and whose first generation is sparse to dense.

    Departures from Optuna's NSGA-II, measured on a prototype at 600 evaluations of a synthetic placement objective
    (four-objective hypervolume; Optuna's own 0.47, random 0.377): a gene is a module with its knobs, and
    nothing repeats (0.529); the first generation draws how many decisions place a module uniformly, then
    which (0.565): independent draws per decision practically never propose few modules. A mutation draws the
    module first, then its knobs, so that modules with many knobs are not favoured. Where the host is a choice, the
    hosts are equally likely at first, and so is every number of modules on each: a uniform number spread over the
    decisions of all hosts is uniform on the decisions of any one.
    """

    def __init__(self, space: SearchSpace, encoding: ByOption, *, population_size: int, seed: int) -> None:
        super().__init__(population_size=population_size, seed=seed)
        self._decisions = {d.name: d.options for d in space.decisions if len(d.options) > 1}
        self._distributions = encoding.distributions
        self._generator = np.random.default_rng(seed)

    # Optuna gives the signatures.
    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self.get_trial_generation(study, trial) == 0:
            return self._first_generation()
        return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        return self._option(param_name, self._modules(param_name))

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        # Optuna returns the parents by rank when it selects them and by number when it finds them selected; a
        # restarted search selects them again, and must draw from the same order.
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)

    def _first_generation(self) -> dict[str, Any]:
        may_be_empty = [name for name in self._decisions if "none" in self._modules(name)]
        num_empty = int(self._generator.integers(len(may_be_empty) + 1))
        empty = {may_be_empty[i] for i in self._generator.permutation(len(may_be_empty))[:num_empty]}
        return {
            name: self._option(name, [m for m in self._modules(name) if (m == "none") == (name in empty)])
            for name in self._decisions
        }

    def _modules(self, name: str) -> list[str]:
        return list(dict.fromkeys(option.module for option in self._decisions[name]))

    def _option(self, name: str, modules: Sequence[str]) -> int:
        module = modules[int(self._generator.integers(len(modules)))]
        of_module = [i for i, option in enumerate(self._decisions[name]) if option.module == module]
        return of_module[int(self._generator.integers(len(of_module)))]


def _nsga2(space: SearchSpace, directions: Sequence[StudyDirection], generation: int) -> Sampler:
    encoding = ByOption(space)

    def make(seed: int) -> BaseSampler:
        return PlacementNSGAII(space, encoding, population_size=generation, seed=seed)

    return OptunaSampler(space, directions, make, encoding, generation)


def _tpe(space: SearchSpace, directions: Sequence[StudyDirection], generation: int) -> Sampler:
    def make(seed: int) -> BaseSampler:
        # One parameter at a time, as Optuna does by default under several objectives: a knob that only some
        # trials have is then learnt from those that have it, while the joint estimate knows none but the
        # parameters of all trials.
        return TPESampler(multivariate=False, seed=seed)

    return OptunaSampler(space, directions, make, ByKnob(space), generation)


@dataclass(frozen=True)
class SamplerEntry:
    """A sampler's name, its description, its generation for a number of trials, and how to make it."""

    name: str
    summary: str
    generation: Callable[[int], int]
    make: Callable[[SearchSpace, Sequence[StudyDirection], int], Sampler]


SAMPLERS = {
    entry.name: entry
    for entry in (
        # A quarter of the trials, so that even a search of 24 sees three generations; no more than 20, the
        # population of the measurements above.
        SamplerEntry("nsga2", "evolution towards the front", lambda trials: min(20, max(8, trials // 4)), _nsga2),
        # Small, since TPE learns only between generations; four, since fewer would leave workers without
        # work.
        SamplerEntry("tpe", "tree-structured Parzen estimator", lambda _: 4, _tpe),
        SamplerEntry("random", "uniform over architectures", lambda _: 1, lambda space, *_: RandomSampler(space)),
        SamplerEntry(
            "exhaustive",
            "every architecture of a small space",
            lambda _: 1,
            lambda space, *_: ExhaustiveSampler(space),
        ),
    )
}


def sampler_entry(name: str) -> SamplerEntry:
    """Return the sampler called `name`.

    Raises:
        InputError: There is none; the message lists those there are, and the nearest name.
    """
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    return SAMPLERS[name]


def make_sampler(name: str, space: SearchSpace, directions: Sequence[StudyDirection], generation: int) -> Sampler:
    """Make the sampler called `name`.

    Raises:
        InputError: There is none of that name, or it is not for this space.
    """
    return sampler_entry(name).make(space, directions, generation)
