"""Training a study's winners and baselines in full: who they are, one after the other, and how they join the study."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.export import pick_network
from nas.study.home import StudyHome
from nas.study.retrained_trials import join
from reports.front.goal import goal_in
from reports.front.summary import Measured, best_summary
from reports.view import Retraining, StudyView
from search_spaces import Architecture, InputError
from trials.failure import DivergedError
from trials.retrain import Job, RetrainRecord

Train = Callable[[Job], RetrainRecord]
MakeJob = Callable[[Architecture, int, Path], Job]
"""From an architecture, a seed and the folder to write to a training of it."""
Say = Callable[[str], None]


def is_first_process() -> bool:
    """Whether this process is the one that speaks: torchrun, started by hand, runs the whole command several times."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Plan:
    """One training of one architecture."""

    item: Measured
    job: Job


def front_and_baselines(view: StudyView) -> list[Measured]:
    """Return what `--front` trains: the bare hosts, the front (the best first), and the other named baselines.

    Of the confirmation where there is one, else of the search.

    Raises:
        InputError: nothing is measured yet.
    """
    summary = best_summary(view)
    if not summary.items:
        raise InputError(f"{view.path} holds no finished trial yet")
    goal = goal_in(summary)

    def quality(item: Measured) -> float:
        return goal.sign * (item.adjusted(goal.value) or 0.0)

    hosts = [item for item in summary.items if item.is_bare_host]
    front = sorted((item for item in summary.front if not item.is_bare_host), key=quality, reverse=True)
    baselines = [item for item in summary.items if item.role == "baseline" and item not in (*hosts, *front)]
    return [*hosts, *front, *baselines]


def picked(view: StudyView, picks: Sequence[str]) -> list[Measured]:
    """Return what `--pick` names; see `nas.export.pick_network`. Raises InputError."""
    return [pick_network(view, pick) for pick in picks]


def plan_of(folder: Path, items: Sequence[Measured], seeds: Sequence[int], job: MakeJob) -> list[Plan]:
    """Return the trainings, seed by seed, so that all architectures have one before any has a second.

    Args:
        folder: that holds a folder for each.
        items: the architectures.
        seeds: of the trainings.
        job: makes one of them.
    """
    return [
        Plan(item, job(item.architecture, seed, folder / f"{item.architecture.id}-seed{seed}"))
        for seed in seeds
        for item in items
    ]


def train_all(home: StudyHome, plans: Sequence[Plan], train: Train, say: Say) -> list[Retraining]:
    """Train what is not trained yet; each joins the study as soon as it has come to its end.

    What diverges is told of, and the others are trained all the same; so does a study that another process drives just
    now: its results are in their folders, and the same call later lets them join.

    Raises:
        InputError: data, recipe and an architecture do not fit; or, after all others were trained, some diverged.
        StoppedTrainingError: SIGINT or SIGTERM came; the same call goes on.
    """
    done, diverged = [], []
    for number, plan in enumerate(plans, 1):
        own = "" if plan.item.name == plan.item.architecture.id else f" ({plan.item.architecture.id})"
        say(f"{number} of {len(plans)}: {plan.item.name}{own}, seed {plan.job.seed}")
        try:
            retraining = Retraining(plan.item.architecture, train(plan.job))
        except DivergedError as error:
            diverged.append(f"{plan.item.name}, seed {plan.job.seed}: {error}")
            say(diverged[-1])
            continue
        done.append(retraining)
        if is_first_process():
            _join(home, retraining, say)
    if diverged:
        raise InputError(f"{len(diverged)} of {len(plans)} trainings diverged:\n" + "\n".join(diverged))
    return done


def _join(home: StudyHome, retraining: Retraining, say: Say) -> None:
    try:
        join(home, retraining)
    except InputError as error:
        say(f"not in the study yet, only in its folder: {error}; the same command later lets it join")
