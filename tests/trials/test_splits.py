import numpy as np
import pytest

from search_spaces import InputError
from trials import Dataset, split


def make_dataset(counts: list[int]) -> Dataset:
    """Return a data set with so many images of each class, in an irregular order."""
    labels = np.random.default_rng(5).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    return Dataset(images, labels, images[:1], labels[:1], tuple(map(str, range(len(counts)))))


def test_a_split_is_disjoint_sorted_and_of_exactly_the_sizes_asked_for() -> None:
    train, validation = split(make_dataset([40, 31, 7]), validation=11, training=29, seed=0)
    assert (len(train), len(validation)) == (29, 11)
    assert len(np.union1d(train, validation)) == 40
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()


def test_without_a_training_size_every_other_image_is_trained_on() -> None:
    train, validation = split(make_dataset([40, 31, 7]), validation=11, training=None, seed=0)
    assert sorted([*train, *validation]) == list(range(78))


def test_each_class_has_its_share_up_to_one_image() -> None:
    counts = np.array([50, 30, 20])
    dataset = make_dataset(counts.tolist())
    train, validation = split(dataset, validation=33, training=21, seed=3)
    for part in (train, validation):
        shares = len(part) * counts / counts.sum()
        assert (abs(np.bincount(dataset.labels[part], minlength=3) - shares) < 1).all()


def test_largest_remainders_get_the_images_left_over() -> None:
    dataset = make_dataset([5, 3, 2])
    _, validation = split(dataset, validation=4, training=None, seed=0)
    # Shares of 4: 2.0, 1.2 and 0.8.
    assert np.bincount(dataset.labels[validation], minlength=3).tolist() == [2, 1, 1]


def test_the_seed_decides_the_split() -> None:
    dataset = make_dataset([40, 40])
    first, again, other = (split(dataset, 20, None, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_validation_images_do_not_depend_on_the_training_size() -> None:
    dataset = make_dataset([40, 40])
    assert np.array_equal(split(dataset, 20, None, 1)[1], split(dataset, 20, 10, 1)[1])


@pytest.mark.parametrize(
    ("validation", "training", "message"),
    [
        (80, None, "validation: 80 of 80 images .* allowed: 1 to 79"),
        (0, None, "validation: 0 of 80"),
        (60, 21, "training: 21 images asked for, but 60 of 80 .* allowed: 1 to 20"),
    ],
)
def test_impossible_sizes_are_refused(validation: int, training: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(make_dataset([40, 40]), validation, training, seed=0)
