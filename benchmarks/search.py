"""Compares samplers on searches whose truth is known: hypervolume over evaluations.

    python benchmarks/search.py --repetitions 10 --evaluations 200

(a) The synthetic placements of `synthetic_placements`, under two objectives (accuracy, MACs) and under four. Each
repetition draws its own truth; all samplers search it with the same seed, through the ledger and the proposer that
users run, whole generations at a time. Evaluations count everything that is trained, the nine baselines that begin each
search included; they are in everyone's front, and known to our samplers alone.

Reported are hypervolumes of true values (1: the box between the bare host's accuracy and the best that climbing finds,
the bare host's costs and the dearest placement's), of `held`: what a search shows as its front, by the noisy values
that it was told; and of `archive`: everything it trained. `reached`: the evaluations from which on the mean over
repetitions is not below that of random search after 200, with a bootstrap's interval over repetitions (95 %).

Samplers: `random` is uniform over the space; `nsga2 of Optuna` is NSGAIISampler on modules and knobs with a population
of 20, asked for as many at once; `tpe` is capped, since each of its draws takes long; `ours` is what `auto` takes.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import StudyDirection
from over_cost import mean_with_interval, reached_with_interval
from replay import Curves, Search, about, curves, replay
from synthetic_placements import EVERY, make_problem

from nas.proposals.parameters import ByKnob
from nas.samplers import AUTO, SAMPLERS, OptunaSampler, SamplerEntry, resolve_sampler
from search_spaces import SearchSpace

AT = (20, 30, 50, 100, 200, 400, 600)
GOAL_AT = 200
OPTUNA, TPE, OURS = "nsga2 of Optuna", "tpe", "ours"
OBJECTIVES = (("accuracy", "macs"), EVERY)


def optuna_nsga2(space: SearchSpace, directions: Sequence[StudyDirection], generation: int) -> OptunaSampler:
    """Make Optuna's own NSGA-II, on modules and knobs, so that it learns from whole generations."""

    def make(seed: int) -> BaseSampler:
        return NSGAIISampler(population_size=generation, seed=seed)

    return OptunaSampler(space, directions, make, ByKnob(space), generation)


def grow(sampler: str, objectives: tuple[str, ...], trials: int, seed: int) -> Curves:
    """Run one search, and return its curves."""
    problem = make_problem(seed, objectives)
    name = resolve_sampler(AUTO, problem.space, len(objectives), trials) if sampler == OURS else sampler
    return curves(problem, replay(problem, Search(name, trials, seed, seed)).finished)


class Comparison:
    """The samplers' curves on one problem, repetition by repetition."""

    def __init__(self, objectives: tuple[str, ...], limits: dict[str, int]) -> None:
        self._objectives, self._limits = objectives, limits
        self._found: dict[str, list[Curves]] = {name: [] for name in limits}
        self._seconds = dict.fromkeys(limits, 0.0)

    def repeat(self, seed: int) -> None:
        """Run every sampler once more."""
        for name, trials in self._limits.items():
            begin = time.process_time()
            self._found[name].append(grow(name, self._objectives, trials, seed))
            self._seconds[name] += time.process_time() - begin

    def result(self) -> dict[str, Any]:
        """Return the curves at some evaluations, and when they reach what random search holds."""
        found, random = self._found, self._found["random"]
        return {
            "objectives": list(self._objectives),
            "samplers": {name: _summary(each, random, self._limits[name]) for name, each in found.items()},
            "cpu s per search": {name: round(s / len(random), 1) for name, s in self._seconds.items()},
        }


def _summary(grown: Sequence[Curves], random: Sequence[Curves], limit: int) -> dict[str, Any]:
    at = [n for n in AT if n <= limit]
    summary: dict[str, Any] = {"at": at}
    for what in ("held", "archive"):
        curve, base = (np.array([getattr(each, what) for each in some]) for some in (grown, random))
        summary[what] = [mean_with_interval(curve[:, n - 1].tolist()) for n in at]
        summary[f"reached ({what})"] = reached_with_interval(
            curve, base[:, :GOAL_AT][:, -1], np.arange(1.0, curve.shape[1] + 1)
        )
    return summary


def show(result: dict[str, Any]) -> None:
    """Print one problem's table."""
    for what in ("held", "archive"):
        print(f"\n{', '.join(result['objectives'])}: hypervolume, {what} (mean, 95 %)")
        at = max((summary["at"] for summary in result["samplers"].values()), key=len)
        print(f"{'':<18}" + "".join(f"{n:>22}" for n in at) + f"   random's at {GOAL_AT} reached")
        for name, summary in result["samplers"].items():
            cells = "".join(f"{mean:>8.3f} [{low:.3f}, {high:.3f}]".rjust(22) for mean, low, high in summary[what])
            best, low, high = ("never" if n is None else f"{n:g}" for n in summary[f"reached ({what})"])
            print(f"{name:<18}{cells.ljust(22 * len(at))}   {best} [{low}, {high}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=600, help="trials of each search beside the baselines")
    parser.add_argument("--tpe", type=int, default=100, help="the same for tpe, which takes long")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search-synthetic.json"))
    arguments = parser.parse_args()
    SAMPLERS[OPTUNA] = SamplerEntry(OPTUNA, "Optuna's own", lambda _: 20, optuna_nsga2)
    most = arguments.evaluations
    limits = {"random": most, OPTUNA: most, TPE: arguments.tpe, OURS: most}
    problems = [Comparison(objectives, limits) for objectives in OBJECTIVES]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for repetition in range(arguments.repetitions):
        for problem in problems:
            problem.repeat(arguments.first_seed + repetition)
        # Kept after each repetition, so that a run that is stopped has not been for nothing.
        results = {**about(), "repetitions": repetition + 1, "problems": [problem.result() for problem in problems]}
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
        print(f"repetition {repetition + 1} of {arguments.repetitions}", file=sys.stderr, flush=True)
    for problem in problems:
        show(problem.result())


if __name__ == "__main__":
    main()
