"""What children are: decisions of their parents, and one of four mutations that keep knobs where they can."""

from collections.abc import Sequence

import numpy as np
import pytest
from toy_search import Toy

from nas.samplers.genes import GenePool, Genes
from nas.samplers.site_genes import van_der_corput
from nas.samplers.variation import Variation
from search_spaces import SearchSpace

WIDE = {"none": {}, "se": {"reduction": [2, 4, 16]}, "eca": {"kernel_size": [3, 5]}}
NARROW = {"none": {}, "se": {"reduction": [4, 8]}, "bam": {"reduction": 4}}
ALWAYS = {"se": {"reduction": [2, 4]}, "eca": {"kernel_size": [3, 5]}}
# Options: none, se 2, 4, 16, eca 3, 5 | none, se 4, 8, bam | se 2, 4, eca 3, 5
CHOICES = [
    {"at": "layer1.*/branch", "per": "stage", "modules": WIDE},
    {"at": "layer2.*/branch", "per": "stage", "modules": NARROW},
    {"at": "layer3.*/branch", "per": "stage", "modules": ALWAYS},
]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return Toy.make_space(CHOICES)


@pytest.fixture(scope="module")
def variation(space: SearchSpace) -> Variation:
    return Variation(GenePool(space))


def outcomes(mutation: object, genes: Genes) -> set[Genes | None]:
    """Return all that a mutation makes of genes in 300 draws."""
    assert callable(mutation)
    return {mutation(genes, np.random.default_rng(seed)) for seed in range(300)}


def test_a_module_is_added_at_an_empty_decision_with_any_knobs(variation: Variation) -> None:
    assert outcomes(variation.add, (0, 1, 0)) == {(index, 1, 0) for index in range(1, 6)}
    assert outcomes(variation.add, (1, 1, 0)) == {None}


def test_only_what_may_be_empty_is_removed(variation: Variation) -> None:
    assert outcomes(variation.remove, (1, 1, 2)) == {(0, 1, 2), (1, 0, 2)}
    assert outcomes(variation.remove, (0, 0, 2)) == {None}


@pytest.mark.parametrize(
    ("genes", "moved"),
    [
        ((2, 0, 0), (0, 1, 0)),  # se 4 is there too
        ((1, 0, 0), (0, 1, 0)),  # of se 2, 4 is nearest
        ((3, 0, 0), (0, 2, 0)),  # of se 16, 8 is nearest
        ((0, 2, 0), (2, 0, 0)),  # of se 8, 4 and 16 are as near: the first
        ((4, 0, 0), None),  # no eca there
        ((0, 3, 0), None),  # no bam there
        ((1, 1, 0), None),  # nowhere to go
    ],
)
def test_a_module_moves_with_its_knobs_or_the_nearest(variation: Variation, genes: Genes, moved: Genes | None) -> None:
    assert outcomes(variation.move, genes) == {moved}


def test_retuning_gives_other_knobs_or_another_module_never_an_empty_site(variation: Variation) -> None:
    assert outcomes(variation.retune, (1, 0, 0)) == {
        *((index, 0, 0) for index in (2, 3, 4, 5)),
        *((1, 0, index) for index in (1, 2, 3)),
    }


def test_a_child_has_the_decisions_of_its_parents_before_it_mutates(variation: Variation) -> None:
    crossed = outcomes(lambda genes, generator: variation.crossed(genes, (3, 2, 1), generator), (1, 0, 2))
    assert crossed == {(a, b, c) for a in (1, 3) for b in (0, 2) for c in (2, 1)}


def test_a_child_differs_from_a_parent_that_it_has_twice(variation: Variation) -> None:
    children = outcomes(lambda genes, generator: variation.mutated(genes, generator), (2, 0, 0))
    assert (2, 0, 0) not in children
    removed, moved, added = {(0, 0, 0)}, {(0, 1, 0)}, {(2, index, 0) for index in (1, 2, 3)}
    retuned = {(index, 0, 0) for index in (1, 3, 4, 5)} | {(2, 0, index) for index in (1, 2, 3)}
    assert children == removed | moved | added | retuned


def test_where_nothing_can_change_the_child_is_its_parent() -> None:
    pool = GenePool(Toy.make_space([{"at": "layer1.*/branch", "per": "stage", "modules": {"se": {}}}]))
    assert Variation(pool).child((0,), (0,), np.random.default_rng(0)) == (0,)


def test_the_share_says_how_many_decisions_are_occupied(variation: Variation) -> None:
    def occupied(share: float) -> set[int]:
        drawn = (variation.first(share, np.random.default_rng(seed)) for seed in range(50))
        return {sum(gene != 0 for gene in genes[:2]) for genes in drawn}

    assert [occupied(share) for share in (0.0, 0.34, 0.99)] == [{0}, {1}, {2}]


def test_the_first_generation_is_spread_evenly() -> None:
    shares: Sequence[float] = [van_der_corput(number) for number in range(8)]
    assert shares == [0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]
