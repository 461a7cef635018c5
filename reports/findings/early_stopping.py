"""What early stopping saved, and what it probably lost: told from the trials that it let live against its rule."""

from dataclasses import dataclass

from scipy.special import betaincinv

from reports import wording
from reports.front.summary import Summary
from reports.view import StudyView, TrialView

_TAIL = 0.025
"""Of an interval of 95 %, on either side."""


@dataclass(frozen=True)
class Stopping:
    """What early stopping did in a search."""

    stopped_at: dict[int, int]
    """How many proposals were stopped, by the epochs they had had, the fewest first."""
    num_finished: int
    """Proposals that were trained to their end."""
    epochs_trained: int
    """By both, cool-downs included."""
    epochs_without: int
    """That the same proposals would have taken, all trained to their end."""
    num_spared: int
    """Of the finished, how many should have been stopped and were let live."""
    num_spared_on_front: int
    """Of those, how many are on the front of all that was trained to its end."""

    @property
    def num_stopped(self) -> int:
        return sum(self.stopped_at.values())

    @property
    def lost(self) -> tuple[float, float, float] | None:
        """Share of what was to be stopped that belongs on the front, with its exact 95 % interval (Clopper-Pearson).

        None where nothing was let live.
        """
        if not self.num_spared:
            return None
        hits, misses = self.num_spared_on_front, self.num_spared - self.num_spared_on_front
        low = float(betaincinv(hits, misses + 1, _TAIL)) if hits else 0.0
        high = float(betaincinv(hits + 1, misses, 1 - _TAIL)) if misses else 1.0
        return hits / self.num_spared, low, high


def stopping_of(view: StudyView, search: Summary) -> Stopping | None:
    """Return what early stopping did; None where it was not asked for, or nothing came to its end or a stop yet.

    Args:
        view: the study.
        search: its search, whose front counts.
    """
    if not (view.experiment.get("search") or {}).get("early_stopping"):
        return None
    ended = [t for t in view.search if t.role == "proposal" and (t.measured or t.state == "stopped")]
    if not ended:
        return None
    stopped = sorted(trial.record.epochs for trial in ended if trial.state == "stopped" and trial.record)
    spared = [trial for trial in ended if trial.spared_at is not None]
    front = {item.architecture.hash for item in search.front}
    return Stopping(
        stopped_at={epochs: stopped.count(epochs) for epochs in dict.fromkeys(stopped)},
        num_finished=sum(trial.measured for trial in ended),
        epochs_trained=sum(map(_epochs_trained, ended)),
        epochs_without=len(ended) * int(view.experiment["train"]["epochs"]),
        num_spared=len(spared),
        num_spared_on_front=sum(trial.architecture.hash in front for trial in spared),
    )


def sentences(found: Stopping) -> tuple[str, ...]:
    """Say what it did."""
    at = ", ".join(f"{count} after {wording.plural(epochs, 'epoch')}" for epochs, count in found.stopped_at.items())
    total = found.num_stopped + found.num_finished
    said = [
        f"Early stopping ended {found.num_stopped} of {wording.plural(total, 'proposal')} before their end"
        f"{f' ({at})' if at else ''}: {found.epochs_trained:,} epochs of training in place of "
        f"{found.epochs_without:,} ({found.epochs_trained / found.epochs_without:.0%})."
    ]
    if found.lost is None:
        said.append("None was let live against the rule, so nothing can be said about what stopping lost.")
    else:
        share, low, high = found.lost
        one = found.num_spared == 1
        said.append(
            f"{wording.plural(found.num_spared, 'more was', 'more were')} to be stopped and let live to tell what "
            f"stopping costs: {found.num_spared_on_front} of {'it' if one else 'them'} "
            f"{'is' if found.num_spared_on_front == 1 else 'are'} on the search's front. So of what was stopped, "
            f"{share:.0%} (95 % interval {low:.0%} to {high:.0%}) would be expected there."
        )
    return tuple(said)


def _epochs_trained(trial: TrialView) -> int:
    legs = {record.epochs: record for record in (*trial.rungs, *([trial.record] if trial.record else []))}
    return sum(record.epochs - record.first_epoch + 1 for record in legs.values())
