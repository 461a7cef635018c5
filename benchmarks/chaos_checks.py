"""What must hold of a study after all that `chaos` did to its search, found out from the study itself."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from nas.study.database import Database
from nas.study.driver_lock import LOCK
from nas.study.home import CONFIRM, SEARCH, find_study
from nas.study.journal import JOURNAL
from nas.study.lease import LEASES
from nas.study.ledger import Ledger
from search_spaces.errors import InputError
from trials.whole_file import final_name

Key = tuple[str, int]
"""Which of the two Optuna studies, and the trial's number there."""


@dataclass(frozen=True)
class Invariant:
    """One promise, and whether it was kept."""

    name: str
    expected: str
    found: str

    @property
    def ok(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True)
class Snapshot:
    """What a study holds at one moment."""

    results: dict[Key, str]
    """Every result that is stored, with its wall time and history, so that one that was trained again is another."""
    running: frozenset[Key]
    unfinished: int
    """Trials that run or wait, by Optuna's states."""
    failed: tuple[str, ...]
    """Why trials failed."""
    proposals: int
    """Proposals of the search that are complete."""
    trained: tuple[tuple[object, ...], ...]
    """Architecture, seed and epochs of every training that has a result."""
    outcome: dict[tuple[object, ...], object]
    """What was found, by what stays the same whoever finishes first, without times: to be compared to the bit."""


EMPTY = Snapshot({}, frozenset(), 0, (), 0, (), {})


def look(study: str) -> Snapshot:
    """Read a study, also while its search runs; empty if there is none yet."""
    try:
        home = find_study(study)
        storage = home.read()
    except InputError:
        return EMPTY
    trials: list[tuple[str, FrozenTrial]] = []
    for part in (SEARCH, CONFIRM):
        try:
            ledger = Ledger.load(storage, home.optuna_name(part))
        except InputError:
            continue
        trials += [(part, trial) for trial in ledger.trials() if "refused" not in trial.user_attrs]
    if isinstance(storage, Database):
        storage.engine.dispose()
    done = [(part, trial) for part, trial in trials if "record" in trial.user_attrs]
    return Snapshot(
        results={(part, t.number): json.dumps(t.user_attrs["record"], sort_keys=True) for part, t in done},
        running=frozenset((part, t.number) for part, t in trials if t.state == TrialState.RUNNING),
        unfinished=sum(not t.state.is_finished() for _, t in trials),
        failed=tuple(str(t.user_attrs.get("reason")) for _, t in trials if t.state == TrialState.FAIL),
        proposals=sum(part == SEARCH and _is_complete_proposal(t) for part, t in trials),
        trained=tuple((part, *_training(t)) for part, t in done),
        outcome={_name(part, t): _measured(t) for part, t in done},
    )


def _is_complete_proposal(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and trial.user_attrs["role"] == "proposal"


def _training(trial: FrozenTrial) -> tuple[object, ...]:
    return trial.user_attrs["hash"], trial.user_attrs["seed"], trial.user_attrs["record"]["epochs"]


def _name(part: str, trial: FrozenTrial) -> tuple[object, ...]:
    """Return the number of a trial of the search; confirmations may come in any order."""
    return (part, trial.number) if part == SEARCH else (part, *_training(trial))


def _measured(trial: FrozenTrial) -> object:
    record: dict[str, Any] = trial.user_attrs["record"]
    figures = ("accuracy", "loss", "test_accuracy", "test_loss", "params", "macs", "status")
    return (*_training(trial), trial.user_attrs["label"], trial.values, *(record.get(figure) for figure in figures))


def check(
    study: str,
    folder: Path,
    *,
    trials: int,
    seen: dict[Key, str],
    exits: list[str],
    report_after: float,
    processes: list[str],
    undisturbed: Snapshot | None,
) -> list[Invariant]:
    """Check all that can be checked once the search is over.

    Args:
        study: its folder or URL.
        folder: of its files.
        trials: the budget.
        seen: every result that was seen at any earlier moment.
        exits: drivers that ended otherwise than they should have, in words.
        report_after: the report must have been written after this moment, in seconds since the epoch.
        processes: what is left of what was started, in words.
        undisturbed: the same search without faults; None if there was none.
    """
    now = look(study)
    kept = sum(now.results.get(key) == result for key, result in seen.items())
    twice = sum(count - 1 for count in Counter(now.trained).values())
    report = folder / "report" / "report.html"
    written = report.is_file() and report.stat().st_mtime >= report_after
    found = [
        Invariant("finished trials seen before, unchanged", str(len(seen)), str(kept)),
        Invariant("trainings of one architecture, seed and length twice", "0", str(twice)),
        Invariant("complete proposals", str(trials), str(now.proposals)),
        Invariant("failed trials", "none", _listed(now.failed)),
        Invariant("running or waiting trials", "0", str(now.unfinished)),
        Invariant("drivers that ended otherwise than they should", "none", _listed(exits)),
        Invariant("report", "written", "written" if written else "missing"),
        Invariant("processes left", "none", _listed(processes)),
        Invariant("locks left", "none", _listed(_locks(study, folder))),
        Invariant("unfinished files left", "none", _listed(_unfinished_files(folder))),
    ]
    if undisturbed is not None:
        same = sum(now.outcome.get(name) == result for name, result in undisturbed.outcome.items())
        wanted = f"{len(undisturbed.outcome)} of {len(undisturbed.outcome)}"
        name = "trials equal, to the bit, to the undisturbed search's"
        found.append(Invariant(name, wanted, f"{same} of {len(now.outcome)}"))
    return found


def _locks(study: str, folder: Path) -> list[str]:
    left = [LOCK] if (folder / LOCK).is_file() and (folder / LOCK).read_bytes() else []
    left += [path.name for path in folder.glob(f".{LOCK}-*")] + [path.name for path in folder.glob(".nas-token*")]
    if not (folder / JOURNAL).exists():
        storage = find_study(study).read()
        assert isinstance(storage, Database)
        with storage.engine.connect() as connection:
            left += [f"lease of {study}" for (study,) in connection.execute(sqlalchemy.select(LEASES.c.study))]
        storage.engine.dispose()
    return left


def _unfinished_files(folder: Path) -> list[str]:
    """Return what a process that was killed in the middle of a write has left, and what a training goes on from."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((f".{LOCK}", ".nas-"))]
    return [str(p.relative_to(folder)) for p in paths if final_name(p) or p.name.endswith(".running")]


def _listed(words: tuple[str, ...] | list[str]) -> str:
    if not words:
        return "none"
    return f"{len(words)}: {'; '.join(words[:3])}{' ...' if len(words) > 3 else ''}"
