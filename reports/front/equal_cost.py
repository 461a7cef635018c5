"""Is it attention, or just more compute? Each confirmed architecture against the others of equal cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports import wording
from reports.front.summary import Measured, Summary
from reports.front.tables import FrontRow, differences, shares
from reports.statistics.intervals import Difference
from reports.view import Control, ControlKind, StudyView

_KINDS: dict[ControlKind, str] = {
    "handmade": "hand-made, nearest in cost",
    "random": "random, same cost",
    "wider": "host made wider",
}


@dataclass(frozen=True)
class EqualCostRow:
    """One architecture against one control of equal cost."""

    of: FrontRow
    kind: ControlKind
    label: str
    """The control's name; empty where there is none."""
    id: str
    """The control's id; empty where there is none."""
    params: int | None
    """Of the control; None where it was not measured."""
    macs: int | None
    quality_difference: Difference | None
    """The architecture's over the control's, paired by seed; None where the control was not measured."""
    loss_difference: Difference | None
    is_best: bool
    """Of this architecture's controls it has the best mean."""
    reason: str
    """Why there is nothing to compare with; else empty."""

    @property
    def kind_in_words(self) -> str:
        """What kind of control it is, for a reader."""
        return _KINDS[self.kind]


def equal_cost_rows(view: StudyView, summary: Summary, rows: Sequence[FrontRow]) -> list[EqualCostRow]:
    """Return the confirmed architectures against each of their controls, in the order of `rows`, the front first.

    The words `better` and `worse` hold together over all these comparisons (Holm), in accuracy (or mIoU) and in
    log-loss each. There are no rows before the confirmation, or where no controls were asked for.
    """
    if summary.stage != "confirm":
        return []
    found = [(row, control) for row in rows for control in view.controls if control.of == row.architecture.hash]
    ours = [summary.find(row.architecture) for row, _ in found]
    theirs = [None if c.reason or c.architecture is None else summary.find(c.architecture) for _, c in found]
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a and b]
    quality = iter(shares([a for a, _ in pairs], [b for _, b in pairs], summary.quality))
    loss = iter(differences([a for a, _ in pairs], [b for _, b in pairs], lambda r: r.loss, maximise=False))
    best = _best_of(summary, found, theirs)
    return [
        _row(row, control, measured, next(quality) if measured else None, next(loss) if measured else None, best)
        for (row, control), measured in zip(found, theirs, strict=True)
    ]


def _best_of(
    summary: Summary, found: Sequence[tuple[FrontRow, Control]], theirs: Sequence[Measured | None]
) -> dict[str, str]:
    """Return the hash of each architecture's best control, by its own."""
    best: dict[str, tuple[float, str]] = {}
    for (row, _), measured in zip(found, theirs, strict=True):
        mean = measured.adjusted(summary.quality.value) if measured else None
        if measured and mean is not None and mean > best.get(row.architecture.hash, (-1.0, ""))[0]:
            best[row.architecture.hash] = (mean, measured.architecture.hash)
    return {own: control for own, (_, control) in best.items()}


def _row(
    row: FrontRow,
    control: Control,
    measured: Measured | None,
    quality: Difference | None,
    loss: Difference | None,
    best: dict[str, str],
) -> EqualCostRow:
    first = measured.records[0] if measured else None
    return EqualCostRow(
        of=row,
        kind=control.kind,
        label=measured.name if measured else control.label,
        id=control.architecture.id if control.architecture else "",
        params=first.params if first else None,
        macs=first.macs if first else None,
        quality_difference=quality,
        loss_difference=loss,
        is_best=measured is not None and best.get(row.architecture.hash) == measured.architecture.hash,
        reason=control.reason or ("" if measured else "not trained yet, or every training of it failed"),
    )


def sentence_of(rows: Sequence[EqualCostRow], words: str) -> str | None:
    """Return the answer in one sentence, from each architecture's best control; None without any comparison.

    `words` is what is compared: accuracy, or mIoU.
    """
    best = {row.of.id: row for row in rows if row.is_best and row.quality_difference}
    if not best:
        return None
    question = "Is it attention, or just more compute?"
    if len(best) == 1:
        (row,) = best.values()
        difference = row.quality_difference
        assert difference is not None
        costs = f"{_over(row.of.params, row.params)} parameters and {_over(row.of.macs, row.macs)} MACs over it"
        return (
            f"{question} Against the best control of equal cost ({row.label}; {costs}), {row.of.name} has "
            f"{wording.points(difference)} points of {words}: {difference.verdict}."
        )
    verdicts = [row.quality_difference.verdict for row in best.values() if row.quality_difference]
    better, worse = verdicts.count("better"), verdicts.count("worse")
    return (
        f"{question} Of {len(best)} architectures compared with the best of their controls of equal cost in {words}, "
        f"{better} {'is' if better == 1 else 'are'} better, {worse} worse, and {len(best) - better - worse} cannot be "
        "told apart from it."
    )


def _over(value: int, other: int | None) -> str:
    return wording.over_host(value, other or 0)
