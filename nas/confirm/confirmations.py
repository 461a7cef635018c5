"""Confirming: the front, its controls of equal cost and the baselines are measured again, longer, with paired seeds.

The seeds differ from the search's, so that what was picked for its luck with one split and one order is not judged by
them again. The test split is measured at the end of each of these trainings and nowhere else.

Plain: each with the same number of seeds. As a race (`max_seeds`): also what lies just behind the front, and after the
first seeds of all, further ones where something is open (`nas.confirm.racing`). Who takes part is said in
`nas.confirm.lineup`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from nas.confirm.lineup import Entrant, complete_trials, lineup_of, measured_by, part_of
from nas.confirm.racing import Entry, Outcome, Rules, Run, Step, next_step
from nas.experiment import ConfirmConfig, ExperimentConfig
from nas.study.ledger import Ledger
from reports.objectives import QUALITY


def queue_confirmations(search: Ledger, confirm: Ledger, config: ExperimentConfig) -> bool:
    """Queue the next trainings in `confirm` and return whether there are any to run.

    Call it again when they have run: a race decides by them what comes next.

    Raises:
        InputError: the race's budget is too small for its baselines.
    """
    for entrant, seed in _wanted(search, confirm, config):
        confirm.add(entrant.architecture, label=entrant.label, seed=seed, epochs=config.confirm.epochs)
    return bool(confirm.unfinished())


def _wanted(search: Ledger, confirm: Ledger, config: ExperimentConfig) -> list[tuple[Entrant, int]]:
    if not config.confirm.top:
        return []
    seeds = confirm_seeds(config.confirm, config.search.seed)
    if config.confirm.is_race:
        race = race_of(search, confirm, config.confirm, config.search.seed)
        return [(race.entrants[i], seeds[k]) for i, k in race.step.train]
    return [(entrant, seed) for seed in seeds for entrant in lineup_of(search, confirm, config.confirm).entrants]


def confirm_seeds(config: ConfirmConfig, search_seed: int) -> list[int]:
    """Return the seeds of the confirmation; the search's own is not among them."""
    return [search_seed + 1 + i for i in range(max(config.seeds, config.max_seeds or 0))]


@dataclass(frozen=True)
class Race:
    """A race as it stands."""

    entrants: tuple[Entrant, ...]
    """In the order of the entries."""
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
            f"The confirmation is a race of {len(self.entrants)} architectures: what is clearly beaten at no lower "
            f"cost gets no further seeds ({len(self.step.beaten)} so far), what is open gets more. "
            f"After {asked - left} trainings {why[self.step.why]}."
        )


def race_of(search: Ledger, confirm: Ledger, config: ConfirmConfig, search_seed: int) -> Race:
    """Return how the race stands, from the two ledgers alone; nothing is written. Raises InputError as above."""
    entrants = lineup_of(search, confirm, config).entrants
    seeds = confirm_seeds(config, search_seed)
    keys = {(t.user_attrs["hash"], t.user_attrs["seed"], t.user_attrs["epochs"]): t for t in confirm.trials()}
    finished: dict[Run, FrozenTrial] = {}
    for i, entrant in enumerate(entrants):
        for k, seed in enumerate(seeds):
            found = keys.get((entrant.architecture.hash, seed, config.epochs))
            if found is not None and found.state.is_finished():
                finished[i, k] = found
    outcomes: dict[Run, Outcome] = {run: _qualities(confirm, trial) for run, trial in finished.items()}
    costs = [_costs(search, confirm, entrant, finished.get((i, 0))) for i, entrant in enumerate(entrants)]
    rules = Rules(config.seeds, max(seeds) - search_seed, config.budget, _step(search))
    return Race(entrants, next_step(_entries(entrants, costs), rules, outcomes))


def _entries(entrants: Sequence[Entrant], costs: Sequence[tuple[float, ...]]) -> list[Entry]:
    architectures = [entrant.architecture for entrant in entrants]
    hosts = {each.host: i for i, each in enumerate(architectures) if not each.items}
    return [
        Entry(cost, hosts.get(each.host) if each.items else None)
        for each, cost in zip(architectures, costs, strict=True)
    ]


def _step(search: Ledger) -> float:
    """Return what one validation image is worth, where the first quality counts images."""
    trials = [*complete_trials(search, "proposal"), *complete_trials(search, "baseline")]
    sizes = [trial.user_attrs["record"]["num_validation"] for trial in trials]
    of_pixels = any(trial.user_attrs["record"].get("miou") is not None for trial in trials)
    counts_images = measured_by(search)[:1] == ["accuracy"] and not of_pixels
    return 1 / min(sizes) if counts_images and sizes and all(sizes) else 0.0


def _qualities(ledger: Ledger, trial: FrozenTrial) -> tuple[float, ...] | None:
    """Return what training alone can tell, less is better; None if the training failed."""
    return part_of(ledger, trial, quality=True) if trial.state.name == "COMPLETE" else None


def _costs(search: Ledger, confirm: Ledger, entrant: Entrant, first: FrozenTrial | None) -> tuple[float, ...]:
    """Return what the search measured; of a control, what its first training here did.

    Nothing is decided before all first trainings have ended; whose first one failed is out of the race.
    """
    if entrant.trial is not None:
        return part_of(search, entrant.trial, quality=False)
    if first is not None and first.state.name == "COMPLETE":
        return part_of(confirm, first, quality=False)
    return tuple(math.inf for name in search.objectives if name not in QUALITY)
