"""A ledger's trials in memory: by state and role, counted, and what changed since when.

One driver writes to a study, so what it read when it opened the study and what it wrote since is what there is. No
question that is asked in every step of a search looks at all trials.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from optuna.trial import FrozenTrial

from nas.study.ledger_trial import Counts, Role, State, state_of

Key = tuple[str, int, int]  # architecture's hash, seed, epochs: what is measured once

UNFINISHED: Sequence[State] = ("waiting", "running", "paused")


class LedgerIndex:
    """All trials of one study as they are now, those of other programs (without a role) too."""

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        self._trials: list[FrozenTrial] = []
        self._state: dict[int, State] = {}
        self._counts: dict[Role, Counter[State]] = {role: Counter() for role in get_args(Role)}
        self._numbers: dict[Role, list[int]] = {role: [] for role in get_args(Role)}
        self._unfinished: dict[State, set[int]] = {state: set() for state in UNFINISHED}
        self._untold: set[int] = set()
        self._foreign: set[int] = set()
        self._known: dict[Key, int] = {}
        self._log: list[int] = []
        for trial in trials:
            self.put(trial)

    def __len__(self) -> int:
        return len(self._trials)

    def put(self, trial: FrozenTrial) -> None:
        """Take in a trial that is new, the next by number, or has changed."""
        number = trial.number
        assert number <= len(self._trials)
        self._trials[number : number + 1] = [trial]
        if "role" not in trial.user_attrs:
            (self._foreign.discard if trial.state.is_finished() else self._foreign.add)(number)
            return
        self._foreign.discard(number)
        (self._untold.discard if trial.state.is_finished() else self._untold.add)(number)
        role: Role = trial.user_attrs["role"]
        before, now = self._state.get(number), state_of(trial)
        if before is None:
            self._numbers[role].append(number)
            if now != "refused":
                self._known[_key(trial)] = number
        if before != now:
            self._move(number, role, before, now)
        self._log.append(number)

    def _move(self, number: int, role: Role, before: State | None, now: State) -> None:
        if before is not None:
            self._counts[role][before] -= 1
            self._unfinished.get(before, set()).discard(number)
        self._counts[role][now] += 1
        if now in self._unfinished:
            self._unfinished[now].add(number)
        self._state[number] = now

    def __getitem__(self, number: int) -> FrozenTrial:
        return self._trials[number]

    def trials(self, role: Role | None = None) -> list[FrozenTrial]:
        """Return the trials that have a role, or have this one, in order."""
        if role is not None:
            return [self._trials[number] for number in self._numbers[role]]
        return [trial for trial in self._trials if "role" in trial.user_attrs]

    def latest(self, role: Role) -> Iterable[FrozenTrial]:
        """Return the trials of a role, the last first; what is not looked at costs nothing."""
        return (self._trials[number] for number in reversed(self._numbers[role]))

    def num(self, role: Role) -> int:
        """Return how many trials have a role, refused ones too."""
        return len(self._numbers[role])

    def in_state(self, *states: State) -> list[FrozenTrial]:
        """Return the trials in some of the states `UNFINISHED`, in order."""
        return [self._trials[n] for n in sorted(set().union(*(self._unfinished[state] for state in states)))]

    def untold(self) -> list[FrozenTrial]:
        """Return the trials that Optuna does not hold for finished, in order."""
        return [self._trials[number] for number in sorted(self._untold)]

    def foreign(self) -> list[FrozenTrial]:
        """Return the unfinished trials that are not the ledger's, in order."""
        return [self._trials[number] for number in sorted(self._foreign)]

    def counts(self, role: Role) -> Counts:
        """Count the trials of a role by state."""
        return Counts(**{str(state): count for state, count in self._counts[role].items()})

    @property
    def known(self) -> Mapping[Key, int]:
        """What is queued, running, finished or failed, not refused, and under which number; it stays up to date."""
        return self._known

    def changed_since(self, mark: int) -> tuple[list[FrozenTrial], int]:
        """Return the trials that changed since a mark (0: all), each once, in order, and the mark for the next time."""
        return [self._trials[number] for number in sorted(set(self._log[mark:]))], len(self._log)


class Changes:
    """Follows an index: `take` returns what changed since it was called last, at first everything."""

    def __init__(self, index: LedgerIndex) -> None:
        self._index, self._mark = index, 0

    def take(self) -> list[FrozenTrial]:
        """Return the trials that are new or have changed, each once, as they are now, in order."""
        changed, self._mark = self._index.changed_since(self._mark)
        return changed


def _key(trial: FrozenTrial) -> Key:
    return trial.user_attrs["hash"], trial.user_attrs["seed"], trial.user_attrs["epochs"]
