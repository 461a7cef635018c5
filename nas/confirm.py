"""Confirming: the front and the baselines are measured again, longer, with paired seeds.

The seeds differ from the search's, so that what was picked for its luck with one split and one order is not judged by
them again. The test split is measured at the end of each of these trainings and nowhere else.
"""

from optuna.trial import FrozenTrial

from nas.experiment import ExperimentConfig
from nas.study import Ledger
from reports.objectives import to_minimise
from reports.pareto import nondominated


def queue_confirmations(search: Ledger, confirm: Ledger, config: ExperimentConfig) -> None:
    """Queue a training in `confirm` for each chosen architecture and seed that is not there yet."""
    if not config.confirm.top:
        return
    chosen = [*choose(search, config.confirm.top), *_complete(search, "baseline")]
    for seed in confirm_seeds(config):
        for trial in chosen:
            label = trial.user_attrs["label"]
            confirm.add(search.architecture(trial), label=label, seed=seed, epochs=config.confirm.epochs)


def confirm_seeds(config: ExperimentConfig) -> list[int]:
    """Return the seeds of the confirmation; the search's own is not among them."""
    return [config.search.seed + 1 + i for i in range(config.confirm.seeds)]


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


def _complete(ledger: Ledger, role: str) -> list[FrozenTrial]:
    return [t for t in ledger.trials() if t.state.name == "COMPLETE" and t.user_attrs["role"] == role]
