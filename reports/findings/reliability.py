"""How far measurements can be relied on to rank: short trainings against long ones, accuracy against log-loss.

Kendall's tau-b between the search's and the confirmation's lengths of training, and the intraclass correlation of
paired seeds, ICC(C,1) of McGraw and Wong, 1996 ("Forming inferences about some intraclass correlation coefficients";
ICC(3,1) of Shrout and Fleiss, 1979): the share of a single training's variance, beside what the seed does to all alike,
that is the architecture's. Intervals are bootstrapped over architectures. Both see only what was confirmed, which the
search has picked: among architectures that differ more, both would be higher.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.front.summary import Summary
from reports.view import StudyView
from trials.record import TrialRecord

Floats = npt.NDArray[np.float64]

_DRAWS = 500
_LEAST = 4
"""Architectures below which nothing is said."""
_WANTED = 0.8
"""The reliability that the number of seeds is named for."""


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval of 95 %."""

    value: float
    low: float
    high: float
    n: int
    """Architectures."""


@dataclass(frozen=True)
class Reliability:
    """How reliably one training ranks the confirmed architectures."""

    accuracy: Estimate
    """Intraclass correlation of one training; of mIoU where that was measured."""
    loss: Estimate
    loss_over_accuracy: Estimate
    num_seeds: int
    """Seeds that all of them have."""


@dataclass(frozen=True)
class Fidelity:
    """How a length of training in the search ranks architectures that were confirmed."""

    epochs: int
    confirmed_epochs: int
    tau: Estimate
    """Kendall's tau-b between one training of `epochs` and the confirmed mean."""


def fidelities_of(view: StudyView, confirmed: Summary) -> tuple[Fidelity, ...]:
    """Return how each length of training in the search, rungs included, ranks what was confirmed, the shortest first.

    Lengths at which fewer than four confirmed architectures were measured are left out.
    """
    value, target = confirmed.quality.value, confirmed.epochs
    found: dict[int, dict[str, float]] = {}
    for trial in view.search:
        whole = (trial.record,) if trial.measured and trial.record else ()
        for record in (*trial.rungs, *whole):
            if (before := value(record)) is not None:
                found.setdefault(record.epochs, {})[trial.architecture.hash] = before
    fidelities = []
    for epochs, by_architecture in sorted(found.items()):
        pairs = [
            (before, after)
            for item in confirmed.items
            if (before := by_architecture.get(item.architecture.hash)) is not None
            and (after := item.adjusted(value)) is not None
        ]
        tau = bootstrap(np.array(pairs, dtype=float).reshape(-1, 2), tau_b)
        if tau is not None and target is not None:
            fidelities.append(Fidelity(epochs, target, tau))
    return tuple(fidelities)


def reliability_of(confirmed: Summary) -> Reliability | None:
    """Return how reliable accuracy and log-loss are, from the seeds that all confirmed architectures share.

    None with fewer than four architectures or two such seeds, or where one of the two does not vary.
    """
    accuracy, loss = (_table(confirmed, value) for value in (confirmed.quality.value, lambda record: record.loss))
    if accuracy is None or loss is None or accuracy.shape != loss.shape:
        return None
    both = np.stack([accuracy, loss], axis=1)
    found = (
        bootstrap(both, lambda tables: consistency(tables[:, 0])),
        bootstrap(both, lambda tables: consistency(tables[:, 1])),
        bootstrap(both, lambda tables: consistency(tables[:, 1]) - consistency(tables[:, 0])),
    )
    if found[0] is None or found[1] is None or found[2] is None:
        return None
    return Reliability(found[0], found[1], found[2], accuracy.shape[1])


def sentences(view: StudyView, confirmed: Summary) -> tuple[str, ...]:
    """Return both in words, as far as they are known."""
    found = []
    for known_at in fidelities_of(view, confirmed):
        tau = known_at.tau
        found.append(
            f"Between {known_at.epochs} and {known_at.confirmed_epochs} epochs of training, the {tau.n} architectures "
            f"measured at both rank with Kendall's tau {tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}] by "
            f"{confirmed.quality.words} (1: the same order, 0: nothing in common; 95 % bootstrap interval)."
        )
    if known := reliability_of(confirmed):
        found.append(_in_words(known, confirmed.quality.words))
    return tuple(found)


def seeds_needed(reliability: float, wanted: float = _WANTED) -> float:
    """Return how many seeds' mean reaches `wanted`, from one seed's reliability (Spearman and Brown); inf if never."""
    return math.inf if reliability <= 0 else max(1.0, wanted * (1 - reliability) / (reliability * (1 - wanted)))


def _in_words(known: Reliability, words: str) -> str:
    if known.loss_over_accuracy.low > 0:
        verdict = "log-loss ranks more reliably here"
    elif known.loss_over_accuracy.high < 0:
        verdict = f"{words} ranks more reliably here"
    else:
        verdict = "which of the two ranks more reliably cannot be told here"
    shares = " and ".join(
        f"{each.value:.2f} [{each.low:.2f}, {each.high:.2f}] by {name} ({_seeds(each.value)} for {_WANTED})"
        for name, each in ((words, known.accuracy), ("log-loss", known.loss))
    )
    return (
        f"One training ranks the confirmed architectures with a reliability of {shares}, says the intraclass "
        f"correlation of {known.accuracy.n} architectures over {known.num_seeds} seeds: {verdict}."
    )


def _seeds(reliability: float) -> str:
    needed = seeds_needed(reliability)
    return "no number of seeds is enough" if math.isinf(needed) else f"about {math.ceil(needed)} seeds"


def _table(confirmed: Summary, value: Callable[[TrialRecord], float | None]) -> Floats | None:
    """Return the values, (architectures, seeds), over the seeds that all have."""
    rows: Sequence[Mapping[int, float]] = [item.by_seed(value) for item in confirmed.items]
    shared = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    if len(rows) < _LEAST or len(shared) < 2:
        return None
    return np.array([[row[seed] for seed in shared] for row in rows])


def tau_b(pairs: Floats) -> float:
    """Return Kendall's tau-b of pairs, (n, 2); NaN where one of both is all ties.

    Straight from its definition, since a bootstrap asks for it hundreds of times, and SciPy's takes ten times as long
    for twenty pairs, most of it for a p-value.
    """
    signs = np.sign(pairs[:, None] - pairs[None])
    (first, both), (_, second) = np.einsum("ijk,ijl->kl", signs, signs)
    return float(both / math.sqrt(first * second)) if first and second else math.nan


def consistency(table: Floats) -> float:
    """Return ICC(C,1) = (MS_rows - MS_error) / (MS_rows + (k - 1) MS_error) of a table (rows, k); NaN if all equal."""
    rows, k = table.shape
    means = table.mean(axis=1, keepdims=True)
    rest = table - means - table.mean(axis=0, keepdims=True) + table.mean()
    between = k * float(((means - table.mean()) ** 2).sum()) / (rows - 1)
    error = float((rest**2).sum()) / ((rows - 1) * (k - 1))
    total = between + (k - 1) * error
    return (between - error) / total if total > 0 else math.nan


def bootstrap(rows: Floats, statistic: Callable[[Floats], float]) -> Estimate | None:
    """Return a statistic of rows with its percentile interval; draws on which it is not defined are left out."""
    n = len(rows)
    if n < _LEAST or not math.isfinite(value := statistic(rows)):
        return None
    rng = np.random.default_rng(0)
    drawn = [value, *(statistic(rows[rng.integers(n, size=n)]) for _ in range(_DRAWS))]
    low, high = np.percentile([each for each in drawn if math.isfinite(each)], [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)
