"""How far the search had come after each trial: the hypervolume of everything finished until then."""

from dataclasses import dataclass

from reports.findings.search_time import busy_times
from reports.objectives import OBJECTIVES, to_minimise
from reports.statistics.pareto import hypervolume_history, reference_point
from reports.view import StudyView


@dataclass(frozen=True)
class HypervolumeCurve:
    """One value per finished trial, in the order in which they finished."""

    values: tuple[float, ...]
    """Share of the largest volume possible, in [0, 1]."""
    baselines: tuple[bool, ...]
    """Which of them are baselines, which the sampler did not choose."""
    reference: dict[str, float]
    """The reference point in natural units, by objective; empty without a finished trial."""
    busy_s: tuple[float, ...] = ()
    """How long the search had been busy at each trial's end; empty where the times are not known."""


def hypervolume_curve(view: StudyView) -> HypervolumeCurve:
    """Return the curve over the search's finished trials, baselines included; without any it is empty."""
    trials = [trial for trial in view.search if trial.measured]
    trials.sort(key=lambda trial: (trial.finished_at or "", trial.number))
    if not trials:
        return HypervolumeCurve((), (), {})
    points = to_minimise([trial.values or () for trial in trials], view.objectives)
    corner = reference_point(points)
    signs = [-1 if OBJECTIVES[name].maximise else 1 for name in view.objectives]
    reference = {name: float(sign * c) for name, sign, c in zip(view.objectives, signs, corner, strict=True)}
    values = tuple(float(value) for value in hypervolume_history(points))
    baselines = tuple(trial.role == "baseline" for trial in trials)
    return HypervolumeCurve(values, baselines, reference, busy_times(view, trials))
