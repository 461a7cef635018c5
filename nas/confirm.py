"""Confirming: the front and the baselines are measured again, longer, with paired seeds.

The seeds differ from the search's, so that what was picked for its luck with one split and one order is not judged by
them again. The test split is measured at the end of each of these trainings and nowhere else.

Plain: each with the same number of seeds. As a race (`max_seeds`): also what lies just behind the front, and after the
first seeds of all, further ones where something is open (`nas.racing`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from optuna.trial import FrozenTrial

from nas.experiment import ConfirmConfig, ExperimentConfig
from nas.ledger_trial import state_of
from nas.racing import Entry, Outcome, Rules, Run, Step, next_step
from nas.study import Ledger
from reports.objectives import OBJECTIVES, QUALITY, to_minimise
from reports.pareto import nondominated
from reports.statistics import binomial_error
from search_spaces.errors import InputError

_FIRST_SHARE = 0.8
"""Of a race's budget, how much the first seeds of all may take. In `benchmarks/confirm.py` 0.6 to 0.8 were alike where
the budget was twice the number of candidates, and 0.8 was better with less."""


def queue_confirmations(search: Ledger, confirm: Ledger, config: ExperimentConfig) -> bool:
    """Queue the next trainings in `confirm` and return whether there are any to run.

    Call it again when they have run: a race decides by them what comes next.

    Raises:
        InputError: the race's budget is too small for its baselines.
    """
    for trial, seed in _wanted(search, confirm, config):
        label = trial.user_attrs["label"]
        confirm.add(search.architecture(trial), label=label, seed=seed, epochs=config.confirm.epochs)
    return bool(confirm.unfinished())


def _wanted(search: Ledger, confirm: Ledger, config: ExperimentConfig) -> list[tuple[FrozenTrial, int]]:
    if not config.confirm.top:
        return []
    seeds = confirm_seeds(config.confirm, config.search.seed)
    if config.confirm.is_race:
        race = race_of(search, confirm, config.confirm, config.search.seed)
        return [(race.trials[i], seeds[k]) for i, k in race.step.train]
    chosen = [*choose(search, config.confirm.top), *_complete(search, "baseline")]
    return [(trial, seed) for seed in seeds for trial in chosen]


def confirm_seeds(config: ConfirmConfig, search_seed: int) -> list[int]:
    """Return the seeds of the confirmation; the search's own is not among them."""
    return [search_seed + 1 + i for i in range(max(config.seeds, config.max_seeds or 0))]


def choose(search: Ledger, top: int) -> list[FrozenTrial]:
    """Return at most `top` proposals of the front, spread evenly along its first objective, the ends included."""
    complete = _complete(search, "proposal")
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


@dataclass(frozen=True)
class Race:
    """A race as it stands."""

    trials: tuple[FrozenTrial, ...]
    """The search's trials of the architectures in it, in the order of the entries."""
    step: Step

    @property
    def in_words(self) -> str:
        """How it stands, for the report."""
        asked, left = len(self.step.asked), len(self.step.train)
        why = {
            None: f"it is under way: {left} more are to come before it decides again",
            "answered": "it ended because nothing was open any more",
            "seeds": f"it ended because what is open has all its seeds ({self.step.num_open} architectures)",
            "budget": f"it ended with its budget ({self.step.num_open} architectures were still open)",
        }
        return (
            f"The confirmation is a race of {len(self.trials)} architectures: what is clearly beaten at no lower cost "
            f"gets no further seeds ({len(self.step.beaten)} so far), what is open gets more. "
            f"After {asked - left} trainings {why[self.step.why]}."
        )


def race_of(search: Ledger, confirm: Ledger, config: ConfirmConfig, search_seed: int) -> Race:
    """Return how the race stands, from the two ledgers alone; nothing is written. Raises InputError as above."""
    trials = _entrants(search, config)
    seeds = confirm_seeds(config, search_seed)
    keys = {(t.user_attrs["hash"], t.user_attrs["seed"], t.user_attrs["epochs"]): t for t in confirm.trials()}
    outcomes: dict[Run, Outcome] = {}
    for i, trial in enumerate(trials):
        for k, seed in enumerate(seeds):
            found = keys.get((trial.user_attrs["hash"], seed, config.epochs))
            if found is not None and found.state.is_finished():
                outcomes[i, k] = _qualities(confirm, found)
    rules = Rules(config.seeds, max(seeds) - search_seed, config.budget, _step(search, trials))
    return Race(tuple(trials), next_step(_entries(search, trials), rules, outcomes))


def room_in(config: ConfirmConfig, num_baselines: int) -> int:
    """Return how many architectures a race can begin with beside the baselines. Raises InputError if none."""
    if config.budget is None:
        return config.top
    room = math.floor(_FIRST_SHARE * config.budget / config.seeds + 1e-9) - num_baselines
    if room < 1 and config.top:
        least = math.ceil((num_baselines + 1) * config.seeds / _FIRST_SHARE - 1e-9)
        raise InputError(
            f"confirm.budget: {config.budget} trainings are too few for a race of {num_baselines} baselines and "
            f"the front with {config.seeds} seeds each and then more where it matters; it takes at least {least}"
        )
    return max(room, 0)


def _entrants(search: Ledger, config: ConfirmConfig) -> list[FrozenTrial]:
    """Return the front, what lies closest behind it, and the baselines."""
    baselines = _complete(search, "baseline")
    top = min(config.top, room_in(config, len(baselines)))
    front = choose(search, top)
    return [*front, *_near_front(search, {trial.number for trial in front})[: top - len(front)], *baselines]


def _near_front(search: Ledger, taken: set[int]) -> list[FrozenTrial]:
    """Return the other proposals that may belong on the front, the closest first.

    How far one lies behind is the most by which another of no higher costs beats it in quality. Where accuracy is the
    only quality, noise is at least what the number of validation images makes it: two standard errors of a difference.
    """
    trials = [*_complete(search, "proposal"), *_complete(search, "baseline")]
    costs = [_costs(search, trial) for trial in trials]
    qualities = [_part(search, trial, quality=True) for trial in trials]

    def behind(a: int) -> float:
        rivals = [b for b in range(len(trials)) if b != a and _no_more(costs[b], costs[a])]
        gaps = [min((x - y for x, y in zip(qualities[a], qualities[b], strict=True)), default=0.0) for b in rivals]
        return max(gaps, default=0.0)

    noise = _noise(search, trials)
    found = [(behind(a), trial.number, trial) for a, trial in enumerate(trials) if trial.user_attrs["label"] is None]
    close = [each for each in found if each[0] <= noise and each[1] not in taken]
    return [trial for _, _, trial in sorted(close, key=lambda each: each[:2])]


def _noise(search: Ledger, trials: Sequence[FrozenTrial]) -> float:
    records = [trial.user_attrs["record"] for trial in trials]
    if _measured_by(search) != ["accuracy"] or not records or not all(record["num_validation"] for record in records):
        return math.inf
    typical = median(record["accuracy"] for record in records)
    return 2 * math.sqrt(2) * binomial_error(typical, min(record["num_validation"] for record in records))


def _entries(search: Ledger, trials: Sequence[FrozenTrial]) -> list[Entry]:
    architectures = [search.architecture(trial) for trial in trials]
    hosts = {each.host: i for i, each in enumerate(architectures) if not each.items}
    return [
        Entry(_costs(search, trial), hosts.get(each.host) if each.items else None)
        for trial, each in zip(trials, architectures, strict=True)
    ]


def _step(search: Ledger, trials: Sequence[FrozenTrial]) -> float:
    """Return what one validation image is worth, where the first quality counts images."""
    sizes = [trial.user_attrs["record"]["num_validation"] for trial in trials]
    of_pixels = any(trial.user_attrs["record"].get("miou") is not None for trial in trials)
    return 1 / min(sizes) if _measured_by(search)[:1] == ["accuracy"] and not of_pixels and all(sizes) else 0.0


def _measured_by(ledger: Ledger) -> list[str]:
    """Return the objectives that only training can tell."""
    return [name for name in ledger.objectives if name in QUALITY]


def _qualities(ledger: Ledger, trial: FrozenTrial) -> tuple[float, ...] | None:
    """Return what training alone can tell, less is better; None if the training failed."""
    return _part(ledger, trial, quality=True) if trial.state.name == "COMPLETE" else None


def _costs(ledger: Ledger, trial: FrozenTrial) -> tuple[float, ...]:
    return _part(ledger, trial, quality=False)


def _part(ledger: Ledger, trial: FrozenTrial, *, quality: bool) -> tuple[float, ...]:
    named = zip(ledger.objectives, trial.values, strict=True)
    return tuple(-v if OBJECTIVES[name].maximise else v for name, v in named if (name in QUALITY) == quality)


def _no_more(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(ours, theirs, strict=True))


def _complete(ledger: Ledger, role: str) -> list[FrozenTrial]:
    told = [t for t in ledger.trials() if t.state.name == "COMPLETE" and t.user_attrs["role"] == role]
    return [t for t in told if state_of(t) == "complete"]
