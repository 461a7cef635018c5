"""Who is confirmed: the front of the search, its controls of equal cost, what lies just behind it, the baselines."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from optuna.trial import FrozenTrial

from nas.confirm.controls import ControlRules, from_dict, plan_controls, to_dict
from nas.experiment import ConfirmConfig, ExperimentConfig
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Role, state_of
from reports.objectives import OBJECTIVES, QUALITY, to_minimise
from reports.statistics.intervals import binomial_error
from reports.statistics.pareto import knee, nondominated
from reports.view import Control
from search_spaces import Architecture, SearchSpace
from search_spaces.errors import InputError

_FIRST_SHARE = 0.8
"""Of a race's budget, how much the first seeds of all may take. In `benchmarks/confirm.py` 0.6 to 0.8 were alike where
the budget was twice the number of candidates, and 0.8 was better with less."""

_CONTROLS = "controls"
"""Under which name the controls are noted in the confirmation's ledger."""


@dataclass(frozen=True)
class Entrant:
    """An architecture that is confirmed."""

    architecture: Architecture
    label: str | None
    trial: FrozenTrial | None
    """Of the search; None for a control that the search did not measure."""


@dataclass(frozen=True)
class Lineup:
    """Everything that is confirmed, each architecture once."""

    entrants: tuple[Entrant, ...]
    """The front, then the controls, what is behind the front, and the baselines."""
    controls: tuple[Control, ...]
    """Of each architecture and kind, the most important first; what a budget has no room for says so."""


def lineup_of(search: Ledger, confirm: Ledger, config: ConfirmConfig) -> Lineup:
    """Return who is confirmed, from the two ledgers alone; the controls are those that `note_controls` noted.

    Raises:
        InputError: the race's budget is too small for its baselines.
    """
    baselines = complete_trials(search, "baseline")
    room = room_in(config, len(baselines))
    front = choose(search, min(config.top, room))
    taken = {trial.user_attrs["hash"] for trial in (*front, *baselines)}
    noted = [from_dict(data) for data in (confirm.attributes.get(_CONTROLS) or {}).get("planned", ())]
    on_front = {trial.user_attrs["hash"] for trial in front}
    added, controls = _add_controls([each for each in noted if each.of in on_front], taken, room - len(front))
    near = _near_front(search, taken | added.keys()) if config.is_race else []
    near = near[: max(min(config.top, room - len(added)) - len(front), 0)]
    entrants = [_of_search(search, trial) for trial in front]
    measured = {trial.user_attrs["hash"]: trial for trial in complete_trials(search, "proposal")}
    entrants += [Entrant(each, label, measured.get(each.hash)) for label, each in added.values()]
    entrants += [_of_search(search, trial) for trial in (*near, *baselines)]
    return Lineup(tuple(entrants), tuple(controls))


def _of_search(search: Ledger, trial: FrozenTrial) -> Entrant:
    return Entrant(search.architecture(trial), trial.user_attrs["label"], trial)


def _add_controls(
    noted: Sequence[Control], taken: set[str], room: int
) -> tuple[dict[str, tuple[str, Architecture]], list[Control]]:
    """Return the first controls that there is room for, by hash, and all of them with what becomes of each."""
    added: dict[str, tuple[str, Architecture]] = {}
    controls = []
    for each in noted:
        fits = each.architecture is None or each.architecture.hash in taken | added.keys() or len(added) < room
        if each.architecture and fits and each.architecture.hash not in taken:
            added.setdefault(each.architecture.hash, (each.label, each.architecture))
        controls.append(each if fits else replace(each, reason="left out: `confirm.budget` has no room for it"))
    return added, controls


def note_controls(search: Ledger, confirm: Ledger, config: ExperimentConfig, space: SearchSpace) -> None:
    """Choose what the front is compared with at equal cost, and note it in `confirm`.

    That is done once for the same front and rules. Call it when the search has ended, before `queue_confirmations`.

    Raises:
        InputError: the race's budget is too small for its baselines.
    """
    chosen, baselines = config.confirm, complete_trials(search, "baseline")
    front = _by_importance(search, choose(search, min(chosen.top, room_in(chosen, len(baselines)))))
    rules = ControlRules(tuple(chosen.controls), chosen.max_controls, config.search.seed)
    asked = {"front": [t.user_attrs["hash"] for t in front], "kinds": chosen.controls, "most": chosen.max_controls}
    noted: dict[str, Any] = confirm.attributes.get(_CONTROLS) or {}
    if noted.get("asked") != asked:
        trained = [(trial.user_attrs["label"], search.architecture(trial)) for trial in baselines]
        planned = plan_controls(space, [search.architecture(trial) for trial in front], trained, rules)
        confirm.set_attribute(_CONTROLS, {"asked": asked, "planned": [to_dict(each) for each in planned]})


def _by_importance(search: Ledger, front: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the knee, then the best in the first objective, then the others as they stand."""
    if not front:
        return []
    points = to_minimise([trial.values for trial in front], search.objectives)
    first = dict.fromkeys([knee(points), int(points[:, 0].argmin()), *range(len(front))])
    return [front[i] for i in first]


def choose(search: Ledger, top: int) -> list[FrozenTrial]:
    """Return at most `top` proposals of the front, spread evenly along its first objective, the ends included."""
    complete = complete_trials(search, "proposal")
    if not complete:
        return []
    points = to_minimise([trial.values for trial in complete], search.objectives)
    front = [trial for trial, on_front in zip(complete, nondominated(points), strict=True) if on_front]
    front.sort(key=lambda trial: (trial.values, trial.number))
    if len(front) <= top:
        return front
    if top == 1:
        best = to_minimise([trial.values for trial in front], search.objectives)[:, 0].argmin()
        return [front[int(best)]]
    return [front[round(i * (len(front) - 1) / (top - 1))] for i in range(top)]


def room_in(config: ConfirmConfig, num_baselines: int) -> int:
    """Return how many architectures can be confirmed beside the baselines: all that may be asked for without a budget.

    Raises:
        InputError: there is room for none.
    """
    if config.budget is None:
        return config.top + config.max_controls
    room = math.floor(_FIRST_SHARE * config.budget / config.seeds + 1e-9) - num_baselines
    if room < 1 and config.top:
        least = math.ceil((num_baselines + 1) * config.seeds / _FIRST_SHARE - 1e-9)
        raise InputError(
            f"confirm.budget: {config.budget} trainings are too few for a race of {num_baselines} baselines and "
            f"the front with {config.seeds} seeds each and then more where it matters; it takes at least {least}"
        )
    return max(room, 0)


def _near_front(search: Ledger, taken: Set[str]) -> list[FrozenTrial]:
    """Return the other proposals that may belong on the front, the closest first.

    How far one lies behind is the most by which another of no higher costs beats it in quality. Where accuracy is the
    only quality, noise is at least what the number of validation images makes it: two standard errors of a difference.
    """
    trials = [*complete_trials(search, "proposal"), *complete_trials(search, "baseline")]
    costs = [part_of(search, trial, quality=False) for trial in trials]
    qualities = [part_of(search, trial, quality=True) for trial in trials]

    def behind(a: int) -> float:
        rivals = [b for b in range(len(trials)) if b != a and _no_more(costs[b], costs[a])]
        gaps = [min((x - y for x, y in zip(qualities[a], qualities[b], strict=True)), default=0.0) for b in rivals]
        return max(gaps, default=0.0)

    noise = _noise(search, trials)
    found = [(behind(a), trial.number, trial) for a, trial in enumerate(trials) if trial.user_attrs["label"] is None]
    close = [each for each in found if each[0] <= noise and each[2].user_attrs["hash"] not in taken]
    return [trial for _, _, trial in sorted(close, key=lambda each: each[:2])]


def _noise(search: Ledger, trials: Sequence[FrozenTrial]) -> float:
    records = [trial.user_attrs["record"] for trial in trials]
    if measured_by(search) != ["accuracy"] or not records or not all(record["num_validation"] for record in records):
        return math.inf
    typical = median(record["accuracy"] for record in records)
    return 2 * math.sqrt(2) * binomial_error(typical, min(record["num_validation"] for record in records))


def measured_by(ledger: Ledger) -> list[str]:
    """Return the objectives that only training can tell."""
    return [name for name in ledger.objectives if name in QUALITY]


def part_of(ledger: Ledger, trial: FrozenTrial, *, quality: bool) -> tuple[float, ...]:
    """Return a complete trial's qualities (what training alone can tell), or its costs; less is better."""
    named = zip(ledger.objectives, trial.values, strict=True)
    return tuple(-v if OBJECTIVES[name].maximise else v for name, v in named if (name in QUALITY) == quality)


def _no_more(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(ours, theirs, strict=True))


def complete_trials(ledger: Ledger, role: Role) -> list[FrozenTrial]:
    """Return what was trained to its end and measured."""
    told = [t for t in ledger.trials(role) if t.state.name == "COMPLETE"]
    return [t for t in told if state_of(t) == "complete"]  # not those that were stopped early
