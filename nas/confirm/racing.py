"""The race of a confirmation: which architecture gets its next seed, from nothing but what was measured so far.

Racing in the sense of Maron and Moore, 1994 ("Hoeffding races"), with t-tests as in Birattari et al., 2002 ("A racing
algorithm for configuring metaheuristics"): what is clearly beaten is dropped, what is not is replicated. Departures:

- Beaten means beaten in quality by something that costs no more: the race is for the front, not for one winner.
- The difference of two architectures is that over the seeds that both have. Its standard error comes from all pairs of
  architectures, since three seeds of two alone say next to nothing about it: the median of the pairs' variances, so
  that one training that collapsed cannot hide all differences.
- The levels are corrected for the number of competitors and for the number of looks (`reports.statistics.sequential`).
- With a budget, a round trains the quarter of what is open where an architecture and the rival that threatens it most
  are closest (Kalyanakrishnan et al., 2012, "PAC subset selection in stochastic multi-armed bandits", have the closest
  pair alone): rounds of all that is open spend it evenly, and found the front no more often than three seeds each.

The pooled test only decides where seeds go. "Better" in the report is its own test, of the pair's own differences,
and it holds whatever is decided here. A race goes on for it: an architecture is not at rest before it can be told
from its bare host by that test.

Decisions are made after whole rounds and replayed from the first one each time, so that a race that was killed
goes on as if it had not been, whatever finished first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, stdtrit

from reports.statistics.intervals import paired_difference
from reports.statistics.sequential import Looks

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Run = tuple[int, int]  # entry's index, which of its seeds (from 0)
Outcome = tuple[float, ...] | None  # qualities, less is better; None: the training failed
Why = Literal["answered", "seeds", "budget"]

ERROR = 0.05
"""The chance that an architecture is dropped although nothing is better, and of a wrong word about any of them."""

_SHARE, _LEAST = 0.25, 4
"""Of what is open, how much one round trains where there is a budget, and at least how many trainings."""


@dataclass(frozen=True)
class Entry:
    """An architecture in the race."""

    costs: tuple[float, ...]
    """Less is better; the same quantities for all."""
    host: int | None = None
    """The index of its bare host; None if it is one, or if that is not in the race."""


@dataclass(frozen=True)
class Rules:
    """How long a race may last."""

    seeds: int
    """Of every entry before the first decision; at least 2."""
    max_seeds: int
    """Of any entry."""
    budget: int | None = None
    """Trainings in all; at least `seeds` of each entry."""
    step: float = 0.0
    """What one validation image is worth in the first quality; see `paired_difference`."""

    @property
    def looks(self) -> Looks:
        """When a comparison of two entries is looked at."""
        return Looks(self.seeds, self.max_seeds)


@dataclass(frozen=True)
class Step:
    """What to do next."""

    train: tuple[Run, ...]
    """The trainings of this round that have no outcome yet; empty at the end."""
    asked: tuple[Run, ...]
    """All trainings that the race has asked for so far, these included, in order."""
    beaten: Mapping[int, int] = field(default_factory=dict)
    """From each entry that was dropped to one that beats it."""
    why: Why | None = None
    """Why it stopped: nothing is open, no open entry may have another seed, or the budget is spent."""
    num_open: int = 0
    """Entries about which something is still open."""


def next_step(entries: Sequence[Entry], rules: Rules, outcomes: Mapping[Run, Outcome]) -> Step:
    """Replay the race on the outcomes so far and return what is missing, or why it stopped.

    Outcomes that the race did not ask for are not looked at.
    """
    if not entries:
        return Step((), (), why="answered")
    race = _Race(entries, rules, outcomes)
    asked: list[Run] = [(i, k) for k in range(rules.seeds) for i in range(len(entries))][: rules.budget]
    standing = _Standing((), {}, 0)
    while True:
        if missing := [run for run in asked if run not in outcomes]:
            return Step(tuple(missing), tuple(asked), standing.beaten, None, standing.num_open)
        standing = race.judge(asked)
        left = math.inf if rules.budget is None else rules.budget - len(asked)
        possible = [run for run in standing.wanted if run[1] < rules.max_seeds]
        if not possible or left <= 0:
            why: Why = "answered" if not standing.wanted else "budget" if possible else "seeds"
            return Step((), tuple(asked), standing.beaten, why, standing.num_open)
        size = len(possible) if rules.budget is None else max(_LEAST, math.ceil(_SHARE * len(possible)))
        asked += possible[: int(min(left, size))]


@dataclass(frozen=True)
class _Standing:
    wanted: tuple[Run, ...]
    """The next seeds of what is open, the most useful first; seeds beyond the last too."""
    beaten: dict[int, int]
    num_open: int


class _Race:
    def __init__(self, entries: Sequence[Entry], rules: Rules, outcomes: Mapping[Run, Outcome]) -> None:
        self._entries, self._rules, self._outcomes = entries, rules, outcomes
        costs = np.array([entry.costs for entry in entries], dtype=float).reshape(len(entries), -1)
        self._rivals: Bools = (costs[None, :, :] <= costs[:, None, :]).all(axis=2) & ~np.eye(len(entries), dtype=bool)
        """(a, b): b costs no more than a."""
        self._looks_at = set(range(rules.seeds, rules.max_seeds + 1))

    def judge(self, asked: Sequence[Run]) -> _Standing:
        """Say who is beaten and what is open, from the outcomes of the trainings in `asked` alone."""
        num_seeds = np.bincount([i for i, _ in asked], minlength=len(self._entries))
        failed = {i for i, k in asked if self._outcomes[i, k] is None}
        values = self._values(asked)
        margins, shared = self._margins(values)
        critical = self._critical(shared, values)
        here = np.array([i not in failed for i in range(len(self._entries))], dtype=bool)
        compared = self._rivals & here[:, None] & here[None, :] & (shared >= 2)
        losses = compared & (margins >= critical)
        beaten = {int(a): int(np.where(losses[a], margins[a], -np.inf).argmax()) for a in np.flatnonzero(losses.any(1))}
        alive = here & ~losses.any(axis=1)
        unsettled = compared & alive[:, None] & alive[None, :] & (margins > -critical)
        open_pairs = self._front_pairs(margins, unsettled) + self._host_pairs(values, alive)
        wanted: dict[Run, None] = {}
        for pair in open_pairs:
            for i in self._behind(pair, num_seeds):
                wanted.setdefault((i, int(num_seeds[i])))
        return _Standing(tuple(wanted), beaten, len({a for a, _ in open_pairs}))

    def _values(self, asked: Sequence[Run]) -> Floats:
        """Return what was measured, (qualities, entries, seeds); NaN where nothing was."""
        found = [(run, outcome) for run in asked if (outcome := self._outcomes[run]) is not None]
        depth = max((len(outcome) for _, outcome in found), default=0)
        values = np.full((depth, len(self._entries), self._rules.max_seeds), np.nan)
        for (i, k), outcome in found:
            values[:, i, k] = outcome
        return values

    def _margins(self, values: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Return by how many standard errors a is worse than b, (a, b), and how many seeds they share.

        Of several qualities the one in which a comes off best counts: only what is worse in all of them is dominated.
        """
        num = len(self._entries)
        margins, shared = np.full((num, num), np.inf), np.zeros((num, num), dtype=np.int64)
        for table in values:
            known = np.isfinite(table).astype(float)
            shared = (known @ known.T).astype(np.int64)
            filled = np.nan_to_num(table)
            total = filled @ known.T - known @ filled.T
            with np.errstate(invalid="ignore", divide="ignore"):
                scores = total / shared / (_spread(table) * np.sqrt(2 / shared))
            margins = np.minimum(margins, np.nan_to_num(scores, nan=0.0))
        return (margins if len(values) else np.zeros((num, num))), shared

    def _critical(self, shared: npt.NDArray[np.int64], values: Floats) -> Floats:
        """Return the margin that is clear, (a, b), from how many seeds they share and how many rivals a has."""
        rivals = np.maximum(self._rivals.sum(axis=1), 1)
        num_values = int(np.isfinite(values[0]).sum()) if len(values) else 0
        # The median of the variances is worth about two thirds of the degrees of freedom of their mean.
        df = max(1.0, 2 / 3 * (num_values - len(self._entries) - int(shared.max(initial=0)) + 1))
        critical = np.full(shared.shape, np.inf)
        for a, count in enumerate(rivals):
            for n in set(shared[a].tolist()) & self._looks_at:
                level = self._rules.looks.nominal_level(n, ERROR / int(count))
                critical[a, shared[a] == n] = -stdtrit(df, level / 2)
        return critical

    def _front_pairs(self, margins: Floats, unsettled: Bools) -> list[Run]:
        """Return each open entry with the rival that threatens it most, the closest contests first."""
        threats = np.where(unsettled, margins, -np.inf)
        open_entries = np.flatnonzero(unsettled.any(axis=1))
        closest = sorted(open_entries, key=lambda a: (abs(threats[a].max()), a))
        return [(int(a), int(threats[a].argmax())) for a in closest]

    def _host_pairs(self, values: Floats, alive: Bools) -> list[Run]:
        """Return each entry that cannot be told from its bare host yet by its own differences, with that host."""
        compared = [a for a, entry in enumerate(self._entries) if entry.host is not None]
        pairs = []
        for a in compared:
            host = self._entries[a].host
            if host is not None and alive[a] and alive[host] and len(values):
                ours, theirs = (dict(enumerate(values[0, i].tolist())) for i in (a, host))
                found = paired_difference(ours, theirs, step=self._rules.step, looks=self._rules.looks)
                if found.p_value is None or found.p_value * len(compared) > ERROR:
                    pairs.append((a, host))
        return pairs

    def _behind(self, pair: Run, num_seeds: npt.NDArray[np.int64]) -> list[int]:
        """Return who of a pair needs the next seed: the one with fewer seeds, or both."""
        fewest = min(int(num_seeds[i]) for i in pair)
        return [i for i in pair if num_seeds[i] == fewest]


def _spread(table: Floats) -> float:
    """Return the standard deviation of one training beside what its architecture and its seed add; NaN if unknown.

    Half the median of the variances of the pairs' differences, each over what the median of its chi-square would be.
    """
    known = np.isfinite(table).astype(float)
    centred = np.nan_to_num(table - np.nanmedian(table))
    shared = known @ known.T
    sums = centred @ known.T - known @ centred.T
    squares = centred**2 @ known.T + known @ (centred**2).T - 2 * centred @ centred.T
    pairs = np.triu(shared > 1, 1)
    if not pairs.any():
        return math.nan
    df = shared[pairs] - 1
    rest = np.maximum(squares[pairs] - sums[pairs] ** 2 / shared[pairs], 0.0)
    return math.sqrt(float(np.median(rest / chdtri(df, 0.5))) / 2)
