"""Training a study's winners in full from the command line."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nas.cli.output import print_json, print_lines, print_table, program
from nas.cli.plugins_option import plugins_as_typed
from nas.study.home import RETRAINED, find_study
from nas.view import read_view
from nas.winners import MakeJob, Plan, Train, front_and_baselines, is_first_process, picked, plan_of, train_all
from reports.view import Retraining
from reports.wording import plural


def retrain_study(
    study: str,
    front: bool,
    picks: Sequence[str],
    seeds: Sequence[int],
    recipe: str,
    out: Path | None,
    job: MakeJob,
    train: Train,
    as_json: bool,
) -> None:
    """Train a study's winners one after the other, and say what came of them.

    Raises:
        InputError: as `nas.winners.train_all` does, or the study cannot be read.
        StoppedTrainingError: SIGINT or SIGTERM came; the same command goes on.
    """
    home = find_study(study)
    view = read_view(home)
    items = {each.architecture: each for each in (*(front_and_baselines(view) if front else ()), *picked(view, picks))}
    plans = plan_of((out or home.folder / RETRAINED) / recipe, list(items.values()), seeds, job)
    say = partial(print_lines, errors=True) if is_first_process() else _nothing
    say(f"{plural(len(plans), 'training')}, of {', '.join(dict.fromkeys(plan.item.name for plan in plans))}")
    done = train_all(home, plans, train, say)
    if not is_first_process():
        return
    if as_json:
        print_json([{"of": each.of.id, **each.record.to_dict()} for each in done])
        return
    _print_results(plans, done)
    print_lines("next:", f"  {program()} report {shlex.quote(view.path)}{plugins_as_typed()}")


def _nothing(_: str) -> None:
    return


def _print_results(plans: Sequence[Plan], done: Sequence[Retraining]) -> None:
    names = {plan.item.architecture: plan.item.name for plan in plans}
    metrics = list(dict.fromkeys(name for each in done for name in each.record.metrics))
    rows = [
        (
            names[each.of],
            each.of.id,
            each.record.seed,
            *(f"{each.record.metrics[name]:.4f}" if name in each.record.metrics else "" for name in metrics),
        )
        for each in done
    ]
    print_table("", ("architecture", "id", "seed", *metrics), rows, ("seed", *metrics))
