"""The digits that come with scikit-learn: 1,797 grey 8x8 scans of handwriting.

UCI ML hand-written digits, test part; https://archive.ics.uci.edu/dataset/80.
"""

import numpy as np

from trials.dataset import Dataset
from trials.splits import stratified

_NUM_TEST = 360
"""A fifth. scikit-learn's copy has no test split of its own."""


def load_digits() -> Dataset:
    """Return the digits, their 17 grey levels spread over 0 to 255, with 360 test images, always the same."""
    from sklearn import datasets  # a second to import, and nothing else here needs it

    digits = datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    test, rest = stratified(labels, (_NUM_TEST, len(labels) - _NUM_TEST), np.random.default_rng(0))
    return Dataset(images[rest], labels[rest], images[test], labels[test], tuple("0123456789"))
