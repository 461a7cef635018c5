"""Which network of a study is exported, and whose weights."""

from pathlib import Path

from nas.running.weights import weights_path
from reports.front.summary import Measured, best_summary, summarise_search
from reports.objectives import OBJECTIVES
from reports.quality import quality_of
from reports.view import StudyView
from search_spaces.errors import InputError, unknown
from trials import TrialRecord

KNEE = "knee"
_BEST = {"best-accuracy": OBJECTIVES["accuracy"].value, "best-miou": OBJECTIVES["miou"].value}


def pick_network(view: StudyView, pick: str) -> Measured:
    """Return the measured network that `pick` names: of the confirmation where there is one, else of the search.

    Raises:
        InputError: nothing is measured yet, or nothing of that name.
    """
    summary, search = best_summary(view), summarise_search(view)
    if not summary.items:
        raise InputError(f"{view.path} holds no finished trial yet")
    if pick == KNEE:
        return summary.knee or max(summary.front, key=_quality)
    best = {name: value for name, value in _BEST.items() if summary.items[0].mean(value) is not None}
    if pick in best:
        return max(summary.items, key=lambda item: item.adjusted(best[pick]) or 0.0)
    named = [item for item in (*summary.items, *search.items) if pick in (item.architecture.id, str(item.number))]
    if not named:
        known = [KNEE, *best, *(item.architecture.id for item in summary.front)]
        raise unknown("pick (or give the number of a finished trial)", pick, known)
    return named[0]


def _quality(item: Measured) -> float:
    return item.adjusted(quality_of(item.records).value) or 0.0


def kept_training(folder: Path, item: Measured) -> tuple[TrialRecord, Path]:
    """Return the training with the best validation accuracy (or mIoU) whose weights were kept.

    Raises:
        InputError: none were kept.
    """
    value = quality_of(item.records).value
    for record in sorted(item.records, key=lambda record: -(value(record) or 0.0)):
        path = weights_path(folder, item.architecture, record.seed, record.epochs)
        if path.is_file():
            return record, path
    raise InputError(
        f"no weights of {item.name} are in {folder / 'weights'}: the search keeps those of its front and its "
        f"baselines, the confirmation all of its own; `keep: {{weights: all}}` keeps more, `none` nothing"
    )
