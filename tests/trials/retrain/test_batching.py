"""How a batch is cut into parts."""

import numpy as np
import pytest

from search_spaces import InputError
from trials.retrain.batching import Batching, shuffled, slot_rng


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 4), (2, 2), (4, 1)])
def test_the_parts_of_a_batch_are_the_same_however_they_are_divided(world_size: int, accumulation: int) -> None:
    batching, order = Batching(8, world_size, accumulation), shuffled(19, 0, 1)
    parts = [batching.parts(order, 1, 0, 2, rank) for rank in range(world_size)]
    # In the order in which they are computed: all ranks' first parts, then all ranks' second ones.
    computed = [part for together in zip(*parts, strict=True) for part in together]
    assert [list(part.slots) for part in computed] == [[start, start + 1] for start in range(0, 16, 2)]
    assert np.array_equal(np.concatenate([part.items for part in computed]), order[:16])
    assert batching.count_steps(order) == 2


def test_parts_from_a_step_on_are_the_rest_of_all_parts() -> None:
    batching, order = Batching(4, 1, 2), shuffled(20, 0, 3)
    whole, rest = (batching.parts(order, 3, first, 5, 0) for first in (0, 2))
    assert [part.slots for part in whole[4:]] == [part.slots for part in rest]


def test_an_order_holds_each_item_once_and_depends_on_seed_and_epoch() -> None:
    orders = [tuple(shuffled(30, seed, epoch)) for seed in (0, 1) for epoch in (1, 2)]
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert len(set(orders)) == 4
    assert tuple(shuffled(30, 0, 2)) == orders[1]


def test_the_numbers_of_a_slot_differ_from_those_of_all_others() -> None:
    drawn = {
        slot_rng(*key).integers(2**60) for key in [(0, 1, 1, 0), (0, 1, 1, 1), (0, 1, 2, 0), (0, 2, 1, 0), (1, 1, 1, 0)]
    }
    assert len(drawn) == 5


def test_what_cannot_be_divided_is_refused_with_what_can() -> None:
    with pytest.raises(
        InputError, match=r"among 2 processes with `accumulation: 4`: 8 equal parts .* may be 1, 2, 3, 6"
    ):
        Batching(12, 2, 4)
    with pytest.raises(InputError, match="the number of processes must divide 12"):
        Batching(12, 5, 1)
    with pytest.raises(InputError, match="more than the 11 training items"):
        Batching(12, 1, 1).count_steps(shuffled(11, 0, 1))
