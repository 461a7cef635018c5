"""What a random search of the same size would probably have found: an estimate from the study itself.

Nothing is trained for it. Architectures are drawn from the study's space as random search draws them, their costs are
counted, and their qualities are predicted by the regression of `reports.findings.importance`, one draw of what could be
true for each simulated search, with noise as large as what the regression misses of trials it has not seen. The study's
own baselines come first, as they do in the search. It is an extrapolation from what the sampler chose to train.
"""

from dataclasses import dataclass

import numpy as np

from reports.findings.importance import Model, explained, model_of, trials_of_one_length
from reports.objectives import OBJECTIVES, QUALITY, Floats, to_minimise
from reports.statistics.pareto import box_around, hypervolume_history
from reports.view import StudyView
from search_spaces import Architecture, SearchSpace
from search_spaces.cost import measure_cost
from search_spaces.errors import InputError

_POOL = 300
_SEARCHES = 40
_MOST_TRIALS = 100_000
"""Of all simulated searches together."""
_COUNTED = ("macs", "params")


@dataclass(frozen=True)
class RandomSearch:
    """Hypervolumes of simulated random searches, in the box of the study's own curve."""

    low: tuple[float, ...]
    """After each trial: 2.5 % of the searches are below."""
    middle: tuple[float, ...]
    high: tuple[float, ...]
    num_searches: int
    below: float
    """Share of the simulated searches that end below the study."""


def random_search_of(view: StudyView) -> RandomSearch | str:
    """Return the estimate, or in one sentence why there is none."""
    trials = [trial for trial in view.search if trial.measured]
    num = sum(trial.role == "proposal" for trial in trials)
    if unknown := [name for name in view.objectives if name not in (*QUALITY, *_COUNTED)]:
        return f"it cannot tell {' and '.join(OBJECTIVES[name].title for name in unknown)} without measuring."
    if any(trial.state == "stopped" for trial in view.search):
        return "the search stopped trials early, so its size in trainings is not that of a random search."
    models = _models(view)
    if isinstance(models, str) or not num:
        return models if isinstance(models, str) else "the search has proposed nothing yet."
    try:
        space = SearchSpace.from_dict(view.experiment["space"], tried=True)
        rng = np.random.default_rng(0)
        pool = [space.sample(rng) for _ in range(_POOL)]
    except (InputError, KeyError, TypeError):
        return "the space cannot be built again here."
    points = to_minimise([trial.values or () for trial in trials], view.objectives)
    baselines = points[[trial.role == "baseline" for trial in trials]]
    return _simulate(view, models, pool, points, baselines, num)


def _models(view: StudyView) -> dict[str, tuple[Model, float]] | str:
    """Return the regression of each quality with the noise around it, or why that is of no use."""
    found = {}
    for name in view.objectives:
        if name not in QUALITY:
            continue
        model = model_of(trials_of_one_length(view), OBJECTIVES[name].value)
        if model is None:
            return "too few trials are finished for a regression."
        missed, by_mean = model.residuals()
        if explained(missed, by_mean).low <= 0:
            return f"the regression does not reliably predict the {OBJECTIVES[name].title} of trials it has not seen."
        found[name] = (model, float(np.sqrt(np.mean(missed**2))))
    return found


def _simulate(
    view: StudyView,
    models: dict[str, tuple[Model, float]],
    pool: list[Architecture],
    points: Floats,
    baselines: Floats,
    num: int,
) -> RandomSearch:
    costs = [measure_cost(architecture) for architecture in pool]
    counted = np.array([[cost.macs, cost.params] for cost in costs], dtype=float)
    features = {name: model.features_of(pool, counted) for name, (model, _) in models.items()}
    box = box_around(points)
    rng = np.random.default_rng(1)
    curves = []
    for _ in range(max(10, min(_SEARCHES, _MOST_TRIALS // num))):
        columns = []
        for name in view.objectives:
            if name in models:
                model, noise = models[name]
                values = model.regression.draw(rng)(features[name]) + rng.normal(0, noise, len(pool))
                columns.append(np.clip(values, 0.0, 1.0 if OBJECTIVES[name].unit == "fraction" else None))
            else:
                columns.append(counted[:, _COUNTED.index(name)])
        drawn = to_minimise(np.stack(columns, axis=1), view.objectives)
        chosen = rng.choice(len(pool), size=num, replace=num > len(pool))
        curves.append(hypervolume_history(np.vstack([baselines, drawn[chosen]]), box))
    own = float(hypervolume_history(points, box)[-1])
    low, middle, high = np.percentile(curves, [2.5, 50, 97.5], axis=0)
    below = float(np.mean([curve[-1] < own for curve in curves]))
    return RandomSearch(tuple(low), tuple(middle), tuple(high), len(curves), below)
