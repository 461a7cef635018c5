"""Samplers by name, and which one a search takes that leaves it to us."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection

from nas.proposals.parameters import ByKnob, ByOption
from nas.samplers.exhaustive import MOST_TO_EXHAUST, ExhaustiveSampler
from nas.samplers.genes import GenePool
from nas.samplers.optuna_copy import OptunaSampler
from nas.samplers.parents import Selection
from nas.samplers.past import Past
from nas.samplers.sampler import Sampler
from nas.samplers.site_genes import SiteGeneSampler
from nas.samplers.surrogate import Surrogate
from nas.samplers.uniform import RandomSampler
from search_spaces import SearchSpace
from search_spaces.errors import unknown

AUTO = "auto"
"""The name by which a search leaves the choice to `resolve_sampler`."""


@dataclass(frozen=True)
class SamplerEntry:
    """A sampler's name, its description, its generation for a number of trials, and how to make it."""

    name: str
    summary: str
    generation: Callable[[int], int]
    make: Callable[[SearchSpace, Sequence[StudyDirection], int], Sampler]


def _site_genes(selection: Selection) -> Callable[[SearchSpace, Sequence[StudyDirection], int], Sampler]:
    def make_for(space: SearchSpace, directions: Sequence[StudyDirection], generation: int) -> Sampler:
        encoding, pool = ByOption(space), GenePool(space)
        past, surrogate = Past(pool), Surrogate(pool)

        def make(seed: int) -> BaseSampler:
            return SiteGeneSampler(surrogate, pool, past, encoding, selection, generation, seed)

        return OptunaSampler(space, directions, make, encoding, generation, learns_from_baselines=True)

    return make_for


def _tpe(space: SearchSpace, directions: Sequence[StudyDirection], generation: int) -> Sampler:
    def make(seed: int) -> BaseSampler:
        # One parameter at a time, as Optuna does by default under several objectives: a knob that only some
        # trials have is then learnt from those that have it, while the joint estimate knows none but the
        # parameters of all trials.
        return TPESampler(multivariate=False, seed=seed)

    return OptunaSampler(space, directions, make, ByKnob(space), generation)


def _generation(trials: int) -> int:
    # Small, since nothing is learnt within one; of long searches larger, since many workers wait for its last trial.
    return min(12, max(8, trials // 25))


SAMPLERS = {
    entry.name: entry
    for entry in (
        SamplerEntry("nsga2", "evolution of placements towards the front", _generation, _site_genes("crowding")),
        SamplerEntry(
            "nsga3",
            "the same with reference points, for three and more objectives",
            _generation,
            _site_genes("reference points"),
        ),
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


def resolve_sampler(name: str, space: SearchSpace, num_objectives: int, trials: int) -> str:
    """Return `name`, or for `auto` the sampler that suits a search.

    `exhaustive` where the trials are enough for the whole space, else `nsga2` for one or two objectives and `nsga3` for
    more.
    """
    if name != AUTO:
        return name
    if space.size <= min(trials, MOST_TO_EXHAUST):
        return "exhaustive"
    return "nsga2" if num_objectives <= 2 else "nsga3"
