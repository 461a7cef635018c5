"""How much each bridged feature says about the attention weights of bridge attention.

Zhao et al., 2021, BA-Net, arXiv:2112.04150, section 5.2, algorithm 1 and figure 5: for each block a random forest
predicts the attention weights w (C_n of them) from x = [S_1, .., S_n], the squeezed features (C_n // r numbers each);
the Gini importances of each S_i's numbers are added up, and divided by the largest of the n sums.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.analysis.pictures import Pictures, Tick
from reports.analysis.subject import Subject, last_answer
from search_spaces.attention.ba import BA, BridgeWeights
from search_spaces.attention.identity import IdentityStart
from search_spaces.build import Placed
from search_spaces.errors import InputError
from search_spaces.fitting import bridged

MOST_IMAGES = 1000
"""What a forest learns from: its time grows with the images times the features."""

_KEPT_VARIANCE = 0.999
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BridgeImportance:
    """The importance of each feature that a block's bridge attention reads."""

    site: str
    block: str
    features: tuple[str, ...]
    """What is read, in network order; the last is the block's own output."""
    gini: tuple[float, ...]
    """Sums of Gini importances, which add up to 1."""
    why_none: str = ""
    """Why there is no importance; empty if there is."""

    @property
    def relative(self) -> tuple[float, ...]:
        """As in figure 5: the largest is 1."""
        return tuple(value / max(self.gini) for value in self.gini)


def importances_of(subject: Subject, pictures: Pictures, tick: Tick) -> tuple[BridgeImportance, ...]:
    """Return the importances for every bridge attention, in network order; empty without any.

    Raises:
        InputError: scikit-learn is not installed.
    """
    calls = [placed for placed in subject.placed if isinstance(_inner(subject, placed), BA)]
    read = _read(subject, calls, pictures, tick) if calls else {}
    found = []
    for i, placed in enumerate(calls):
        tick("random forests", i, len(calls))
        squeezed, weights = read[placed]
        gini = forest_importance(squeezed, weights)
        why = "" if gini else "its weights are the same for every image, so nothing explains them"
        features = _features(subject, placed)
        found.append(BridgeImportance(placed.site, subject.sites[placed.site].block, features, gini, why))
    return tuple(found)


def forest_importance(groups: list[Floats], targets: Floats) -> tuple[float, ...]:
    """Return the Gini importance of each group of features for the targets; empty where the targets do not vary.

    The forest is scikit-learn's with its defaults, as in the paper, and a fixed seed. The targets are turned onto their
    principal components first, and those that hold 99.9 % of their variance are kept: the impurity of a node is the
    sum of the targets' variances, which a rotation leaves as it is, and a forest of some tens of targets takes a
    fraction of the time of one of 2,048.

    Args:
        groups: features of each group, (N, n_i).
        targets: what is predicted, (N, m).

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor  # a second to import, and nothing else here needs it
    except ModuleNotFoundError:
        raise InputError("the importance of bridges needs scikit-learn: pip install scikit-learn") from None
    components = _components(targets)
    if components is None:
        return ()
    forest = RandomForestRegressor(random_state=0)
    forest.fit(np.concatenate(groups, 1), components[:, 0] if components.shape[1] == 1 else components)
    ends = np.cumsum([group.shape[1] for group in groups])[:-1]
    sums = [float(part.sum()) for part in np.split(forest.feature_importances_, ends)]
    return tuple(sums) if sum(sums) else ()


def _components(targets: Floats) -> Floats | None:
    centred = targets - targets.mean(0)
    if np.abs(centred).max() <= 1e-6 * np.abs(targets).max():
        return None
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    shares = np.cumsum(values**2) / np.sum(values**2)
    kept = int(np.searchsorted(shares, _KEPT_VARIANCE)) + 1
    components: Floats = (left * values)[:, :kept]
    return components


def _read(
    subject: Subject, calls: list[Placed], pictures: Pictures, tick: Tick
) -> dict[Placed, tuple[list[Floats], Floats]]:
    """Return for each call the squeezed features, (N, C_n // r) each, and the weights, (N, C_n)."""
    kept: dict[Placed, list[list[Floats]]] = {placed: [] for placed in calls}
    for x_BCHW, _ in pictures.batches(subject.device, tick, "bridged features", MOST_IMAGES):
        with ExitStack() as stack:
            answers = {}
            for placed in calls:
                weigh = _weigh(subject, placed)
                parts = [*weigh.bridge, weigh.own, weigh]
                answers[placed] = [stack.enter_context(last_answer(part)) for part in parts]

            def note(placed: Placed, answers: Any = answers) -> Any:
                def see(*_: object) -> None:
                    kept[placed].append([answer[0].double().cpu().numpy() for answer in answers[placed]])

                return see

            subject.look(x_BCHW, {placed.call: note(placed) for placed in calls})
    joined = {
        placed: [np.concatenate(column) for column in zip(*batches, strict=True)] for placed, batches in kept.items()
    }
    return {placed: (columns[:-1], columns[-1]) for placed, columns in joined.items()}


def _features(subject: Subject, placed: Placed) -> tuple[str, ...]:
    """Return the names of what is read: the places of the block, or of the block before."""
    site = subject.sites[placed.site]
    sources = [bridged(site, placed.spec)[i] for i in _weigh(subject, placed).read]
    places = {each.target: each for each in reversed(list(subject.sites.values()))}
    names = []
    for source in sources:
        there = places.get(source.node)
        inside = there is not None and there.block == site.block
        names.append(there.place if there and inside else "previous block")
    return (*names, "own output")


def _inner(subject: Subject, placed: Placed) -> Any:
    module = subject.module(placed)
    return module.module if isinstance(module, IdentityStart) else module


def _weigh(subject: Subject, placed: Placed) -> BridgeWeights:
    weigh = _inner(subject, placed).weigh
    assert isinstance(weigh, BridgeWeights)
    return weigh
