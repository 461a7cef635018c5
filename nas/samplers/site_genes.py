"""The site-gene sampler: evolution towards the front, whose gene is a decision of the space.

NSGA-II for one or two objectives, NSGA-III's reference points for more (`parents`); children come from `variation`.
Values of trainings are noisy, and evolution that believes them goes on from what was merely lucky. So each draw is an
evolution of its own, over a few generations that are not trained, from everything that is finished, under objectives
that could be true by all trainings together (`surrogate`; Thompson, 1933: one such draw per proposal explores what is
not known, and makes the proposals of one generation differ).
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from nas.proposals.parameters import ByOption
from nas.samplers.genes import GenePool, Genes
from nas.samplers.one_thread import one_thread
from nas.samplers.parents import Selection, best_first, choose_parents, contenders
from nas.samplers.past import Past
from nas.samplers.ranking import Floats, Integers
from nas.samplers.surrogate import MOST_SHORT, Surrogate
from nas.samplers.variation import Variation

NUM_PARENTS = 20
BROODS, BROOD = 3, 20
"""Generations within a draw, and children in each. On made-up truths a single brood of one or ten learnt more slowly
with two objectives, and six were no better than three (docs/decisions.md)."""
MOST_TRIES_OF_BROOD = 3 * BROOD
"""Children that are made for a brood, of which those are thrown away that are known or break a limit."""
ENOUGH = 10
"""Finished trials from which on those that early stopping ended are no parents."""
MOST_TRIALS = 1000
"""Trials that a draw looks at, the newest: the time to learn grows with the square of their number and more."""
MOST_TRIES = 100
"""Draws that are thrown away because they are known or break a limit, before one is handed out all the same."""


class SiteGeneSampler(BaseSampler):
    """An Optuna sampler over the parameters of `ByOption`.

    The first proposals, as many as a generation has, are drawn from sparse to dense; after that, and while nothing is
    finished, so are those that follow. Whoever has finished, baselines too, may be a parent, and those that early
    stopping ended: all rungs and ends together say what they would have at their end. Nothing that is known to the
    study is drawn again, nor what breaks a limit of the space, as long as `MOST_TRIES` draws find something else.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        pool: GenePool,
        past: Past,
        encoding: ByOption,
        selection: Selection,
        generation: int,
        seed: int,
    ) -> None:
        self._surrogate, self._pool, self._past, self._encoding = surrogate, pool, past, encoding
        self._selection, self._generation = selection, generation
        self._variation = Variation(pool)
        self._generator = np.random.default_rng(seed)

    # Optuna gives the signatures.
    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._encoding.distributions

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        self._past.follow(study.get_trials(deepcopy=False)[: trial.number])
        with one_thread():
            genes = self._unknown(study.directions)
        by_name = dict(zip(self._pool.names, genes, strict=True))
        return {name: by_name[name] for name in search_space}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        raise AssertionError(f"{param_name} is no decision of the space")

    def _unknown(self, directions: Sequence[StudyDirection]) -> Genes:
        past = self._past
        if past.values is None or past.num_finished_proposals < self._generation:
            return self._drawn(past.known, self._firsts(past.num_proposals))
        signs = np.where([direction == StudyDirection.MAXIMIZE for direction in directions], -1.0, 1.0)
        return self._drawn(past.known, self._evolved(past.values * signs, signs))

    def _drawn(self, known: Container[Genes], draws: Iterable[Genes]) -> Genes:
        """Return the first draw that is neither known nor beyond a limit; the last if none is."""
        genes: Genes = ()
        for genes in islice(draws, MOST_TRIES):
            normal = self._pool.normal(genes)
            if normal not in known and self._within_limits(normal):
                break
        return genes

    def _within_limits(self, normal: Genes) -> bool:
        return self._pool.space.violation(normal) is None

    def _firsts(self, number: int) -> Iterator[Genes]:
        """Draw the first generation's `number`th, whose number of modules is spread evenly over the generation."""
        share = van_der_corput(number) + self._generator.random() / self._generation
        while True:
            yield self._variation.first(share % 1, self._generator)
            # Drawn again, it may have any number of modules: there is only one placement without any.
            share = self._generator.random()

    def _evolved(self, points: Floats, signs: Floats) -> Iterator[Genes]:
        """Evolve again and again, each time under other objectives, and yield the last brood, the best first."""
        levels = self._past.levels
        numbers = _of_use(levels)
        best = numbers[levels[numbers] == levels.min()]
        shorter = [(genes, values * signs) for genes, values in self._past.shorter(MOST_SHORT)]
        self._surrogate.learn([self._past.genes[number] for number in best], points[best], shorter)
        if shorter:  # then what is drawn says of those that were stopped, too, what they would have at their end
            levels = np.zeros(len(levels))
            numbers = _of_use(levels)
        while True:
            yield from self._evolve([self._past.genes[number] for number in numbers], levels[numbers])

    def _evolve(self, population: Sequence[Genes], levels: Floats) -> list[Genes]:
        guess = self._surrogate.guess(self._generator)
        points = guess(population)
        kept = contenders(points, levels, NUM_PARENTS)
        population, points, levels = [population[number] for number in kept], points[kept], levels[kept]
        seen: set[Genes] = set()
        for _ in range(BROODS):
            numbers = choose_parents(points, levels, NUM_PARENTS, self._selection, self._generator)
            brood = self._brood([population[number] for number in numbers], seen)
            population += brood
            points = np.vstack([points, guess(brood)])
            levels = np.concatenate([levels, np.full(len(brood), levels.min())])
        first = len(population) - len(brood)
        return [population[number] for number in best_first(points, levels) if number >= first]

    def _brood(self, parents: Sequence[Genes], seen: set[Genes]) -> list[Genes]:
        """Return children that nobody has seen and that are within the limits; any one, if there are none."""
        brood: list[Genes] = []
        for _ in range(MOST_TRIES_OF_BROOD):
            one, other = (parents[int(self._generator.integers(len(parents)))] for _ in range(2))
            child = self._variation.child(one, other, self._generator)
            normal = self._pool.normal(child)
            if normal not in seen and normal not in self._past.known and self._within_limits(normal):
                seen.add(normal)
                brood.append(child)
                if len(brood) == BROOD:
                    break
        return brood or [child]


def _of_use(levels: Floats) -> Integers:
    """Return which finished trials a draw looks at: the best level first (`ranking`), then the newest."""
    num_best = int((levels == levels.min()).sum())
    newest = np.lexsort((-np.arange(len(levels)), levels))
    return newest[: min(num_best, MOST_TRIALS) if num_best >= ENOUGH else MOST_TRIALS]


def van_der_corput(number: int) -> float:
    """Return the number's binary digits mirrored at the point: 0, 1/2, 1/4, 3/4, 1/8, ..., evenly spread."""
    result, digit = 0.0, 0.5
    while number:
        number, bit = divmod(number, 2)
        result += bit * digit
        digit /= 2
    return result
