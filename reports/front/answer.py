"""The report's short answer, in sentences."""

from collections.abc import Sequence

from reports import wording
from reports.front.equal_cost import EqualCostRow, sentence_of
from reports.front.summary import Summary
from reports.front.tables import FrontRow
from reports.view import StudyView


def answer_of(
    view: StudyView, summary: Summary, rows: Sequence[FrontRow], equal_cost: Sequence[EqualCostRow] = ()
) -> list[str]:
    """Return what was found, in a few sentences; a study without a finished trial says just that."""
    if not rows:
        return ["No trial has finished yet, so there is nothing to report but how the study is set up."]
    sentences = [_what_was_done(view, summary)]
    sentences += _best(summary, rows)
    sentences.append(_how_sure(summary, rows))
    if against := sentence_of(equal_cost, summary.quality.words):
        sentences.append(against)
    return [*sentences, *_still_open(view, summary)]


def _what_was_done(view: StudyView, summary: Summary) -> str:
    trained = sum(trial.measured and trial.role == "proposal" for trial in view.search)
    baselines = sum(trial.measured and trial.role == "baseline" for trial in view.search)
    sentence = (
        f"The search trained {trained:,} of {wording.big(view.space_size)} architectures in the space, "
        f"beside {wording.plural(baselines, 'baseline')}."
    )
    if summary.stage == "search":
        return sentence
    return (
        f"{sentence} Architectures of its front and the baselines, {len(summary.items)} in all, were then "
        f"trained again for {wording.plural(summary.epochs or 0, 'epoch')} "
        f"with {summary.seeds_in_words} each."
    )


def _best(summary: Summary, rows: Sequence[FrontRow]) -> list[str]:
    front = [row for row in rows if row.group == "front"]
    if len(front) == 1:
        return [f"The front is {_named(front[0])} alone: {_numbers(summary, front[0])}."]
    by_loss = _by_loss(summary)
    measured = [row for row in front if (row.loss if by_loss else row.quality)]
    best = min(measured, key=lambda row: _badness(row, by_loss), default=None)
    knee = next((row for row in front if row.is_knee), None)
    sentences = []
    if best:
        quality = "lowest log-loss" if by_loss else f"highest {summary.quality.words}"
        sentences.append(f"On the front, {_named(best)} has the {quality}: {_numbers(summary, best)}.")
    if knee and knee is best:
        sentences.append("It is also the front's best compromise (its knee).")
    elif knee:
        sentences.append(f"The front's best compromise (its knee) is {_named(knee)}: {_numbers(summary, knee)}.")
    return sentences


def _by_loss(summary: Summary) -> bool:
    return "loss" in summary.objectives and not {"accuracy", "miou"} & set(summary.objectives)


def _badness(row: FrontRow, by_loss: bool) -> float:
    if by_loss:
        return row.loss.mean if row.loss else 0.0
    return -row.quality.mean if row.quality else 0.0


def _named(row: FrontRow) -> str:
    if row.is_host:
        return _bare_host(row)
    where = f" in {row.host}" if row.host and row.host not in (row.label or "") else ""
    return f"{row.label} ({row.id}){where}" if row.label else f"{row.id}{where}"


def _bare_host(row: FrontRow) -> str:
    return f"the bare {row.host}" if row.host else "the bare host"


def _numbers(summary: Summary, row: FrontRow) -> str:
    parts = [f"{wording.loss(row.loss)} nats"] if _by_loss(summary) else []
    parts.append(summary.quality.of_images(wording.share(row.quality)))
    difference = row.quality_difference
    if difference and difference.mean is not None:
        verdict = f" ({difference.verdict})" if row.stage == "confirm" else ""
        parts.append(f"{wording.points(difference)} points over {_bare_host(row)}{verdict}")
    costs = f"{wording.amount(row.macs)} MACs"
    if row.host_macs and not row.is_host:
        costs += f" ({wording.over_host(row.macs, row.host_macs)} over {_bare_host(row) if row.host else 'the host'})"
    return ", ".join([*parts, costs])


def _how_sure(summary: Summary, rows: Sequence[FrontRow]) -> str:
    if summary.stage == "search":
        return (
            "These are single trainings and nothing is confirmed: the best of many single trainings looks better than "
            "it is, and none of the differences below is established."
        )
    several = any(row.host for row in rows)
    against = "their bare hosts" if several else "the bare host"
    compared = [row.quality_difference for row in rows if row.quality_difference]
    tested = [difference for difference in compared if difference.p_value is not None]
    if not tested:
        return (
            f"Nothing can be said about differences to {against}: that takes at least two seeds "
            "that both networks were trained with."
        )
    better = sum(difference.verdict == "better" for difference in tested)
    worse = sum(difference.verdict == "worse" for difference in tested)
    rest = len(tested) - better - worse
    return (
        f"Of {wording.plural(len(tested), 'architecture')} compared with {against} in {summary.quality.words}, "
        f"{better} {'is' if better == 1 else 'are'} better, {worse} worse, and {rest} cannot be "
        f"told apart from {'them' if several else 'it'} with {summary.seeds_in_words}."
    )


def _still_open(view: StudyView, summary: Summary) -> list[str]:
    sentences = []
    running = sum(trial.state == "running" for trial in view.search)
    if running:
        sentences.append(f"The search is still running: {wording.plural(running, 'trial')} unfinished.")
    unfinished = sum(trial.state == "running" for trial in view.confirm)
    if unfinished:
        sentences.append(
            f"The confirmation is under way: {wording.plural(unfinished, 'training is', 'trainings are')} running."
        )
    short = sum(len(item.records) < summary.num_seeds for item in summary.items)
    if summary.stage == "confirm" and short and not summary.looks:
        sentences.append(
            f"{wording.plural(short, 'architecture has', 'architectures have')} fewer seeds than the others; "
            "the column n says how many."
        )
    if summary.num_left_out:
        left_out = wording.plural(summary.num_left_out, "confirming training")
        sentences.append(f"{left_out} of another length cannot be compared and are left out.")
    return sentences
