import numpy as np
import pytest

from trials.detection.grouping import grouped


@pytest.mark.parametrize(("num_items", "share"), [(40, 0.5), (41, 0.2), (7, 0.5), (3, 0.0), (16, 1.0)])
def test_every_item_is_shown_once_and_one_batch_at_most_is_mixed(num_items: int, share: float) -> None:
    kinds = np.random.default_rng(num_items).random(num_items) < share
    order = grouped(kinds, 4, seed=1, epoch=2)
    assert sorted(order) == list(range(num_items))
    batches = [kinds[order[start : start + 4]] for start in range(0, num_items // 4 * 4, 4)]
    assert sum(0 < batch.sum() < 4 for batch in batches) <= 1


def test_the_order_changes_with_epoch_and_seed_and_nothing_else() -> None:
    kinds = np.arange(40) % 3 == 0
    first = grouped(kinds, 4, seed=1, epoch=1)
    assert np.array_equal(first, grouped(kinds, 4, seed=1, epoch=1))
    assert not np.array_equal(first, grouped(kinds, 4, seed=1, epoch=2))
    assert not np.array_equal(first, grouped(kinds, 4, seed=2, epoch=1))
    batches = kinds[first].reshape(10, 4).all(1)
    assert not np.array_equal(batches, np.sort(batches))  # kinds take turns
