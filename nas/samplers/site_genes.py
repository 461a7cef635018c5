"""The site-gene sampler: evolution towards the front, whose gene is a decision of the space.

NSGA-II for one or two objectives, NSGA-III's reference points for more (`parents`); the first generation and the
baselines are the first parents; children come from `variation`.
"""

from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from nas.parameters import ByOption
from nas.samplers.genes import GenePool, Genes
from nas.samplers.parents import Parents, Selection, choose_parents
from nas.samplers.past import Past
from nas.samplers.variation import Variation

LEAST_PARENTS, SHARE_OF_PARENTS = 10, 1 / 6
"""Parents at a time: at least so many, then this share of what is finished. Few parents learn faster, and go on from
what was merely lucky; the more is finished, the more luck there is in the best of it (docs/decisions.md)."""
MOST_TRIES = 100
"""Draws that are thrown away because they are known or break a limit, before one is handed out all the same."""


class SiteGeneSampler(BaseSampler):
    """An Optuna sampler over the parameters of `ByOption`.

    The first proposals, as many as a generation has, are drawn from sparse to dense; after that, and while nothing is
    finished, so are those that follow. Whoever has finished, baselines too, may be a parent. Nothing that is known to
    the study is drawn again, nor what breaks a limit of the space, as long as `MOST_TRIES` draws find something else.
    """

    def __init__(
        self, pool: GenePool, past: Past, encoding: ByOption, selection: Selection, generation: int, seed: int
    ) -> None:
        self._pool, self._past, self._encoding = pool, past, encoding
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
            return self._drawn(past.known, lambda attempt: self._first(past.num_proposals, attempt))
        signs = np.where([direction == StudyDirection.MAXIMIZE for direction in directions], -1.0, 1.0)
        size = max(LEAST_PARENTS, int(SHARE_OF_PARENTS * len(past.genes)))
        parents = choose_parents(past.values * signs, past.levels, size, self._selection, self._generator)
        return self._drawn(past.known, lambda _: self._child(past.genes, parents))

    def _drawn(self, known: Container[Genes], draw: Callable[[int], Genes]) -> Genes:
        """Draw until something is neither known nor beyond a limit; the last if nothing is."""
        genes = draw(0)
        for attempt in range(1, MOST_TRIES):
            normal = self._pool.normal(genes)
            if normal not in known and self._pool.space.violation(normal) is None:
                break
            genes = draw(attempt)
        return genes

    def _first(self, number: int, attempt: int) -> Genes:
        """Draw the first generation's `number`th, whose number of modules is spread evenly over the generation."""
        # Drawn again, it may have any number of modules: there is only one placement without any.
        share = (
            van_der_corput(number) + self._generator.random() / self._generation
            if attempt == 0
            else self._generator.random()
        )
        return self._variation.first(share % 1, self._generator)

    def _child(self, genes: Sequence[Genes], parents: Parents) -> Genes:
        one, other = (genes[parents.tournament(self._generator)] for _ in range(2))
        return self._variation.child(one, other, self._generator)


def van_der_corput(number: int) -> float:
    """Return the number's binary digits mirrored at the point: 0, 1/2, 1/4, 3/4, 1/8, ..., evenly spread."""
    result, digit = 0.0, 0.5
    while number:
        number, bit = divmod(number, 2)
        result += bit * digit
        digit /= 2
    return result
