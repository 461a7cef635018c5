"""Where the time of a study went: over its trials, and within them."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from statistics import median

from reports.view import StudyView, TrialView
from trials.record import TrialRecord

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Share:
    """A part of the time, in seconds of single trainings added up."""

    name: str
    seconds: float
    num: int
    """Trainings that it is the time of."""


@dataclass(frozen=True)
class SearchTime:
    """Where the time went; seconds of trainings that ran at the same time count each."""

    by_stage: tuple[Share, ...]
    """Proposals, baselines, stopped early, failed, confirmation."""
    within: tuple[Share, ...]
    """Training, validation, the rest, of those that finished."""
    median_s: float
    shortest_s: float
    longest_s: float
    """Of the search's finished trainings."""
    busy_s: float | None
    """Wall time in which at least one training ran, in the search; None where the starts cannot be read."""
    most_at_once: int
    """Trainings that ran at the same time, at the most (for a twentieth of the time)."""

    @property
    def total_s(self) -> float:
        """Of all trainings."""
        return sum(share.seconds for share in self.by_stage)

    @property
    def waiting(self) -> float | None:
        """Share of the places for trainings that stood empty while the search was busy; None where not known."""
        searched = sum(share.seconds for share in self.by_stage if share.name != CONFIRMATION)
        room = (self.busy_s or 0.0) * self.most_at_once
        return max(0.0, 1 - searched / room) if room > 0 else None


CONFIRMATION = "confirmation"


def search_time_of(view: StudyView) -> SearchTime | None:
    """Return where the time went; None before anything finished."""
    finished = [t.record for t in view.search if t.measured and t.record]
    if not finished:
        return None
    groups: dict[str, list[TrialRecord]] = {
        "proposals": _records(t for t in view.search if t.measured and t.role == "proposal"),
        "baselines": _records(t for t in view.search if t.measured and t.role == "baseline"),
        "stopped early": _records(t for t in view.search if t.state == "stopped"),
        "failed": _records(t for t in (*view.search, *view.confirm) if not t.measured and t.state != "stopped"),
        CONFIRMATION: _records(t for t in view.confirm if t.measured),
    }
    walls = sorted(_wall_s(t) for t in view.search if t.measured)
    spans = spans_of(view.search)
    everything = [record for t in (*view.search, *view.confirm) if t.measured for record in _legs(t)]
    return SearchTime(
        tuple(Share(name, sum(r.wall_s for r in each), len(each)) for name, each in groups.items() if each),
        _within(everything),
        median(walls),
        walls[0],
        walls[-1],
        None if spans is None else sum((end - start).total_seconds() for start, end in union(spans)),
        1 if spans is None else _most_at_once(spans),
    )


def busy_times(view: StudyView, trials: Sequence[TrialView]) -> tuple[float, ...]:
    """Return for each trial how long the search had been busy at its end, in seconds; empty where that is not known.

    Time in which nothing ran, since the study was stopped and resumed later, does not count.
    """
    spans = spans_of(view.search)
    if spans is None:
        return ()
    merged = union(spans)
    ends = [_span(trial.record) for trial in trials if trial.record]
    if len(ends) != len(trials) or None in ends:
        return ()
    starts = [start for start, _ in merged]
    before = list(accumulate(((end - start).total_seconds() for start, end in merged), initial=0.0))
    found = []
    for span in ends:
        assert span is not None
        last = max(bisect_right(starts, span[1]) - 1, 0)
        found.append(before[last] + (min(merged[last][1], span[1]) - merged[last][0]).total_seconds())
    return tuple(found)


def spans_of(trials: Iterable[TrialView]) -> list[Span] | None:
    """Return when each training ran, its rungs too; None where a start cannot be read."""
    spans = [_span(record) for trial in trials for record in _legs(trial)]
    return None if None in spans else [span for span in spans if span]


def union(spans: Sequence[Span]) -> list[Span]:
    """Return the time that any of the spans covers, in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _legs(trial: TrialView) -> list[TrialRecord]:
    """Return the trainings of a trial: those of its rungs, and its last."""
    by_epochs = {record.epochs: record for record in (*trial.rungs, *([trial.record] if trial.record else []))}
    return list(by_epochs.values())


def _records(trials: Iterable[TrialView]) -> list[TrialRecord]:
    return [record for trial in trials for record in _legs(trial)]


def _wall_s(trial: TrialView) -> float:
    return sum(record.wall_s for record in _legs(trial))


def _span(record: TrialRecord) -> Span | None:
    try:
        start = datetime.fromisoformat(record.started_at)
    except ValueError:
        return None
    return start, start + timedelta(seconds=max(record.wall_s, 0.0))


def _most_at_once(spans: Sequence[Span]) -> int:
    """Return the largest number that ran together for a twentieth of the busy time; starts are told to the second."""
    events = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    lasted: dict[int, float] = {}
    running = 0
    for (at, change), (until, _) in pairwise(events):
        running += change
        lasted[running] = lasted.get(running, 0.0) + (until - at).total_seconds()
    busy = sum(seconds for number, seconds in lasted.items() if number > 0)
    return max((number for number, seconds in lasted.items() if number and seconds >= busy / 20), default=1)


def _within(records: Sequence[TrialRecord]) -> tuple[Share, ...]:
    """Tell training, validation and the rest apart, by the speed of training and the times of the epochs."""
    told = [record for record in records if record.images_per_s and record.history]
    if not told:
        return ()
    training = sum(r.num_train * len(r.history) / r.images_per_s for r in told if r.images_per_s)
    epochs = sum(result.wall_s for record in told for result in record.history)
    total = sum(record.wall_s for record in told)
    training = min(training, epochs)
    return (
        Share("training", training, len(told)),
        Share("validation after each epoch", epochs - training, len(told)),
        Share("data, building, latency, test", max(total - epochs, 0.0), len(told)),
    )
