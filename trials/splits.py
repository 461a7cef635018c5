"""Stratified splits with exact sizes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces import InputError
from trials.dataset import Dataset, Labels

Index = NDArray[np.int64]

_STREAM = 1
"""Keeps the split's random numbers apart from those of the augmentation under the same seed."""


def split(dataset: Dataset, validation: int, training: int | None, seed: int) -> tuple[Index, Index]:
    """Return the positions of the training and of the validation images, each sorted.

    Both are stratified, disjoint and of exactly the sizes asked for. They depend on the labels, the sizes and
    the seed alone: seed k gives every architecture the same split. The validation images do not depend on
    `training`.

    Args:
        dataset: only its strata are used: its labels, or one stratum of all where pixels have labels.
        validation: images kept for validation, at least 1.
        training: images to train on, or None for all the others.
        seed: not negative.

    Raises:
        InputError: there are too few images.
    """
    total = len(dataset.labels)
    if not 0 < validation < total:
        raise InputError(f"validation: {validation} of {total} images cannot be kept apart; allowed: 1 to {total - 1}")
    rest = total - validation
    if training is not None and not 0 < training <= rest:
        raise InputError(
            f"training: {training} images asked for, but {validation} of {total} are kept for validation; "
            f"allowed: 1 to {rest}"
        )
    rng = np.random.default_rng((seed, _STREAM))
    held_out, kept = stratified(dataset.strata, (validation, rest if training is None else training), rng)
    return kept, held_out


def stratified(labels: Labels, sizes: Sequence[int], rng: np.random.Generator) -> list[Index]:
    """Draw disjoint stratified subsets of exactly these sizes; returns the sorted positions of each.

    Each class gets its share of what is left, rounded by largest remainders (ties: the smaller class number).
    """
    assert sum(sizes) <= len(labels), "more positions asked for than there are"
    shuffled = rng.permutation(len(labels))
    members = [shuffled[labels[shuffled] == number] for number in range(int(labels.max()) + 1)]
    subsets = []
    for size in sizes:
        quotas = _quotas(np.array([len(positions) for positions in members]), size)
        drawn = [positions[:quota] for positions, quota in zip(members, quotas, strict=True)]
        members = [positions[quota:] for positions, quota in zip(members, quotas, strict=True)]
        subsets.append(np.sort(np.concatenate(drawn)))
    return subsets


def _quotas(counts: Index, size: int) -> Index:
    """Return how many of `size` each class gets, in proportion to `counts`; in whole numbers throughout."""
    quotas, remainders = np.divmod(counts * size, counts.sum())
    largest = np.argsort(-remainders, kind="stable")[: size - quotas.sum()]
    quotas[largest] += 1
    return quotas
