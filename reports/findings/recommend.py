"""The architectures that a reader may take home: the best, the best at the host's cost, the knee, the cheapest as good.

One that fills several roles is one recommendation with several roles. Differences to the bare host are those of the
main table, corrected there for all that was compared. Of the hand-made placements the best by its mean stands for
all, and it is selected by the data too. So "better" is said only of what is better than every one of them by itself
(an intersection-union test: Berger, 1982, "Multiparameter hypothesis testing and acceptance sampling"), and "worse"
counts each of them as a comparison (Bonferroni). Both hold together over all architectures that might have been
recommended (Holm), not only over those that were: these were picked by the same numbers.
"""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reports.findings.winners_curse import Correction
from reports.front.goal import Goal, goal_in
from reports.front.placement import Naming
from reports.front.summary import Measured, Summary
from reports.front.tables import FrontRow, row_of
from reports.statistics.intervals import Difference, binomial_error, correct_for_many, paired_difference
from reports.style import family_of
from reports.view import StudyView
from search_spaces import HostConfig
from search_spaces.hosts import host_entry

Role = Literal["best", "host-cost", "knee", "cheapest"]

TOLERANCE = 0.01
"""How much more MACs and parameters than its host has count as the same cost: attention always adds something."""
_NO_HAND_MADE = ("random", "host width")
"""Families of baselines that no hand has placed."""


@dataclass(frozen=True)
class Recommendation:
    """One architecture with everything that a reader needs to decide for it."""

    roles: tuple[Role, ...]
    row: FrontRow
    over_handmade: Difference | None
    """Its quality over that of the best hand-made placement; None for that placement itself, or where there is none."""
    handmade: str
    """That placement's name; empty where there is none."""
    is_handmade: bool
    """It is that placement."""
    correction: Correction | None
    """What of its quality is luck; for the best alone, which was picked for it."""
    export: str | None
    """The command that exports it; None where its weights were not kept."""
    retrain: str | None
    """The command that trains it in full; None if no recipe for its host is shipped."""


@dataclass(frozen=True)
class Recommended:
    """The recommendations, the best first."""

    items: tuple[Recommendation, ...]
    missing: tuple[str, ...]
    """Sentences on roles that nothing fills."""
    num_handmade: int
    num_compared: int
    """Architectures over which the words against the best hand-made placement hold together."""


def recommended_of(
    view: StudyView,
    summary: Summary,
    rows: Sequence[FrontRow],
    names: Naming,
    correction: Correction | None = None,
) -> Recommended:
    """Return what can be recommended of a summary; nothing without a finished trial.

    Args:
        view: the study.
        summary: its confirmation, else its search.
        rows: the main table, whose words on the bare host are taken.
        names: for what is not in that table, since it is behind the search's front.
        correction: of the summary's best.
    """
    if not summary.items:
        return Recommended((), (), 0, 0)
    goal = goal_in(summary)
    by_hash = {row.architecture.hash: row for row in rows}
    items = {item.architecture.hash: item for item in summary.items}
    roles: dict[str, list[Role]] = {}
    missing = []
    for role, pick in _PICKS.items():
        item = pick(summary, goal)
        if item is None:
            missing.append(_MISSING[role])
        else:
            roles.setdefault(item.architecture.hash, []).append(role)
    handmade = [item for item in summary.items if _is_handmade(item)]
    against = over_best_handmade(summary, handmade)
    found = []
    for key, filled in roles.items():
        item = items[key]
        is_best = correction is not None and correction.item.architecture.hash == key
        found.append(
            Recommendation(
                roles=tuple(filled),
                row=by_hash.get(key) or row_of(summary, item, names),
                over_handmade=against.differences.get(key),
                handmade=against.best.name if against.best else "",
                is_handmade=against.best is item,
                correction=correction if is_best else None,
                export=_export(view, item, confirmed=summary.stage == "confirm"),
                retrain=_retrain(view, item),
            )
        )
    return Recommended(tuple(found), tuple(missing), len(handmade), against.num_compared)


@dataclass(frozen=True)
class Against:
    """All architectures of a summary against its best hand-made placement."""

    best: Measured | None
    differences: dict[str, Difference]
    """By the architecture's hash."""
    num_compared: int


def over_best_handmade(summary: Summary, handmade: Sequence[Measured]) -> Against:
    """Compare everything that no hand has placed, and every other hand-made placement, with the best of these.

    Interval and mean are those of the pair; the words and p-values are corrected as the module says. Bare hosts and
    random placements count as compared too, since they could be recommended.
    """
    goal = goal_in(summary)
    best = _best(summary, goal, handmade)
    if best is None:
        return Against(None, {}, 0)
    compared = [item for item in summary.items if item is not best]
    found = [_over_all(goal, item, best, handmade) for item in compared]
    corrected = correct_for_many(found)
    num = sum(difference.p_value is not None for difference in found)
    return Against(best, {i.architecture.hash: d for i, d in zip(compared, corrected, strict=True)}, num)


def _over_all(goal: Goal, item: Measured, best: Measured, handmade: Sequence[Measured]) -> Difference:
    """Return the difference to the best, with the p-value of being better than all or worse than any."""
    shown = _over(goal, item, best)
    if shown.p_value is None or shown.mean is None:
        return shown
    others = [_over(goal, item, other) for other in handmade if other is not item]
    if goal.sign * shown.mean > 0:
        p_value = max(_p_of_better(goal, other) for other in others)
    else:
        p_value = min(1.0, shown.p_value * len(others))
    if p_value < 0.05 or shown.verdict == "not distinguishable":
        return replace(shown, p_value=p_value)
    reason = f"{shown.verdict} by itself, but not among {len(others)} hand-made placements"
    return replace(shown, p_value=p_value, verdict="not distinguishable", reason=reason)


def _p_of_better(goal: Goal, difference: Difference) -> float:
    """Return the p-value of a difference in the direction of better; 1 in the other, or where nothing is known."""
    if difference.p_value is None or difference.mean is None:
        return 1.0
    return difference.p_value if goal.sign * difference.mean > 0 else 1.0


def _over(goal: Goal, item: Measured, other: Measured) -> Difference:
    ours, theirs, step = item.by_seed(goal.value), other.by_seed(goal.value), goal.step(other.records[0])
    return paired_difference(ours, theirs, maximise=goal.maximise, step=step, looks=item.looks)


def _is_handmade(item: Measured) -> bool:
    """Return whether it is a module everywhere, or another placement of a paper; not the bare or a wider host."""
    family = family_of(item.label or "")
    return item.role == "baseline" and bool(item.architecture.items) and not family.startswith(_NO_HAND_MADE)


def _best(summary: Summary, goal: Goal, items: Sequence[Measured] | None = None) -> Measured | None:
    """Return the one with the best mean; of equal ones the cheapest."""
    among = summary.items if items is None else items
    measured = [(item, mean) for item in among if (mean := item.adjusted(goal.value)) is not None]
    finite = [(item, mean) for item, mean in measured if math.isfinite(mean)]
    return max(finite, key=lambda pair: (goal.sign * pair[1], -_macs(pair[0])))[0] if finite else None


def _best_at_host_cost(summary: Summary, goal: Goal) -> Measured | None:
    hosts = {item.architecture.host: item.records[0] for item in summary.items if item.is_bare_host}

    def fits(item: Measured) -> bool:
        host, own = hosts.get(item.architecture.host), item.records[0]
        if host is None or not item.architecture.items:
            return False
        return own.macs <= (1 + TOLERANCE) * host.macs and own.params <= (1 + TOLERANCE) * host.params

    within = [item for item in summary.items if fits(item)]
    return _best(summary, goal, within) if within else None


def _cheapest(summary: Summary, goal: Goal) -> Measured | None:
    """Return the cheapest that cannot be told from the best: by seeds, or by what single trainings allow at all."""
    best = _best(summary, goal)
    if best is None:
        return None
    return min((item for item in summary.items if _as_good(summary, goal, item, best)), key=_macs)


def _as_good(summary: Summary, goal: Goal, item: Measured, best: Measured) -> bool:
    if item is best:
        return True
    difference = _over(goal, item, best)
    if difference.p_value is not None:
        return difference.verdict == "not distinguishable"
    if summary.stage == "confirm" or not goal.counts_images:
        return False
    first = best.records[0]
    accuracy = first.accuracy
    if difference.mean is None or accuracy is None or first.num_validation < 1:
        return False
    error = math.sqrt(2) * binomial_error(min(max(accuracy, 0.0), 1.0), first.num_validation)
    return difference.mean >= -2 * error


def _macs(item: Measured) -> int:
    return item.records[0].macs


_PICKS: dict[Role, Callable[[Summary, Goal], Measured | None]] = {
    "best": _best,
    "host-cost": _best_at_host_cost,
    "knee": lambda summary, _: summary.knee,
    "cheapest": _cheapest,
}
_MISSING: dict[Role, str] = {
    "best": "No architecture has a measured quality.",
    "host-cost": f"No measured placement costs at most {TOLERANCE:.0%} more MACs and parameters than its bare host.",
    "knee": "With one objective there is no compromise to recommend.",
    "cheapest": "Nothing can be said about what is as good as the best.",
}


def _export(view: StudyView, item: Measured, *, confirmed: bool) -> str | None:
    kept = (view.experiment.get("keep") or {}).get("weights", "front")
    if kept == "none" or (kept == "front" and not confirmed and not item.on_front and item.role != "baseline"):
        return None
    return f"nas export {shlex.quote(view.path)} --pick {item.architecture.id}"


def _retrain(view: StudyView, item: Measured) -> str | None:
    recipe = _recipe_for(item.architecture.host, str((view.experiment.get("data") or {}).get("source")))
    return recipe and f"nas retrain {shlex.quote(view.path)} {recipe} --pick {item.architecture.id}"


_LARGE = 64
"""Pixels; a host whose own images are larger is one for ImageNet."""
_CIFAR_RECIPES = {"cifar10": "cifar10-resnet", "cifar100": "cifar100-bam-preresnet110"}


def _recipe_for(host: HostConfig, source: str) -> str | None:
    """Return a recipe by which the placements in a host can be trained in full; None if none is shipped."""
    if host.head != "classify" or host.channels != 3:
        return None
    if host_entry(host.name).input > _LARGE:
        return "imagenet-16-epochs"
    return _CIFAR_RECIPES.get(source)
