"""Compares searches with and without early stopping where the truth is known: hypervolume over training cost.

    python benchmarks/search_stopping.py --repetitions 20

The synthetic placements of `synthetic_placements`, with rungs at 2 and 6 of 18 epochs; how far what is true at a rung
agrees with what is true at the end is varied. Each repetition draws its own truth; all searches run on it with the same
seed, through the ledger, proposer and early stopping that users run, whole generations at a time. Cost counts every
epoch that is trained, cool-downs and the nine baselines that begin each search included, in units of whole trainings.

Reported are hypervolumes of true values, as in `search.py`: `archive`, of everything that was trained to its end;
`held`, of what a search shows as its front. `reached`: the cost from which on the mean over repetitions is not below
that of random search without early stopping after the cost of 200 whole trainings, with a bootstrap's interval over
repetitions (95 %). `ranking`: what a rung's value, and a whole training's, tell of the truth, over placements with a
uniform number of modules.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from over_cost import mean_with_interval, over_costs, summarise
from replay import Curves, Floats, Search, about, replay
from scipy.stats import kendalltau, spearmanr
from search import OBJECTIVES, OURS
from synthetic_placements import EPOCHS, NOISE_SD, RUNGS, Trainings, make_problem, sparse_to_dense

from nas.samplers import AUTO, resolve_sampler

AT = (15, 20, 30, 50, 100, 200)
GRID: Floats = np.arange(0, 401) / 2
"""Costs, in whole trainings, up to that at which random search sets the goal."""
AGREEMENTS = (0.0, 0.7, 0.9)
NUM_RANKED = 2000


@dataclass(frozen=True)
class Setting:
    """A sampler without early stopping, or with it at rungs of some agreement."""

    sampler: str
    agreement: float | None

    @property
    def name(self) -> str:
        """The words for it."""
        if self.agreement is None:
            return self.sampler
        return f"{self.sampler}, stopping early, agreement {self.agreement}"


RANDOM = Setting("random", None)
SETTINGS = (RANDOM, Setting("random", 0.7), *(Setting(OURS, agreement) for agreement in (None, *AGREEMENTS)))


@dataclass
class Found:
    """What the searches of one setting had, repetition by repetition."""

    curves: list[Curves] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    num_finished: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


class Comparison:
    """All settings under some objectives.

    Args:
        objectives: accuracy, then costs.
        trials: proposals of a search without early stopping, and of one with it.
    """

    def __init__(self, objectives: tuple[str, ...], trials: tuple[int, int]) -> None:
        self._objectives, self._trials = objectives, trials
        self._found = {setting: Found() for setting in SETTINGS}

    def repeat(self, seed: int) -> None:
        """Run every search once more."""
        for setting, found in self._found.items():
            begin = time.process_time()
            stops = setting.agreement is not None
            trials = self._trials[stops]
            problem = make_problem(seed, self._objectives, setting.agreement or 0.0)
            name = resolve_sampler(AUTO, problem.space, len(self._objectives), trials)
            sampler = name if setting.sampler == OURS else setting.sampler
            search = Search(sampler, trials, seed, seed, EPOCHS, RUNGS if stops else ())
            replayed = replay(problem, search)
            found.curves.append(over_costs(problem, replayed, [each.epochs / EPOCHS for each in replayed.costs], GRID))
            found.cost.append(replayed.total.epochs / EPOCHS)
            found.num_finished.append(len(replayed.finished))
            found.cpu_s.append(time.process_time() - begin)

    def result(self) -> dict[str, Any]:
        """Return the curves over cost, and when they reach what random search holds."""
        goal = self._found[RANDOM].curves
        return {
            "objectives": list(self._objectives),
            "trials": {"without": self._trials[0], "stopping early": self._trials[1]},
            "searches": {
                setting.name: {
                    "cost": mean_with_interval(found.cost),
                    "finished": mean_with_interval(found.num_finished),
                    **summarise(found.curves, goal, GRID, [cost for cost in AT if cost <= min(found.cost)]),
                    "cpu s per search": round(float(np.mean(found.cpu_s)), 1),
                }
                for setting, found in self._found.items()
            },
        }


def ranking(seeds: range) -> dict[str, Any]:
    """Return what values tell of the truth by rank correlation: Kendall's and Spearman's, means over seeds."""
    told: dict[str, list[list[float]]] = {}
    for seed in seeds:
        rng = np.random.default_rng([seed, 0xA4])
        drawn = sparse_to_dense(rng, NUM_RANKED)
        truth = Trainings(seed, 1.0).truth.points(drawn)
        whole = truth + rng.normal(0, NOISE_SD, NUM_RANKED)
        rungs = {f"rung, agreement {each}": Trainings(seed, each).early(drawn) for each in AGREEMENTS}
        noisy = {name: early + rng.normal(0, NOISE_SD, NUM_RANKED) for name, early in rungs.items()}
        for name, values in {**noisy, "whole training": whole}.items():
            with_whole = kendalltau(values, whole).statistic
            row = [kendalltau(values, truth).statistic, spearmanr(values, truth).statistic, with_whole]
            told.setdefault(name, []).append(row)
    names = ("tau with the truth", "rho with the truth", "tau with a whole training")
    return {name: dict(zip(names, np.mean(rows, axis=0).round(3).tolist(), strict=True)) for name, rows in told.items()}


def show(result: dict[str, Any]) -> None:
    """Print one problem's table."""
    for what in ("archive", "held"):
        print(f"\n{', '.join(result['objectives'])}: hypervolume, {what}, at a cost of so many whole trainings")
        print(f"{'':<40}" + "".join(f"{cost:>8}" for cost in AT) + f"{'at its end':>24}{'reached':>22}{'cost':>8}")
        for name, each in result["searches"].items():
            cells = "".join(f"{mean:>8.3f}" for mean, *_ in each[what])
            end = "{:.3f} [{:.3f}, {:.3f}]".format(*each[f"at its end ({what})"])
            best, low, high = ("never" if cost is None else f"{cost:g}" for cost in each[f"reached ({what})"])
            print(
                f"{name:<40}{cells.ljust(8 * len(AT))}{end:>24}{f'{best} [{low}, {high}]':>22}{each['cost'][0]:>8.0f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=200, help="of a search without early stopping, besides baselines")
    parser.add_argument("--stopping", type=int, default=150, help="of a search with it, stopped ones included")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search-stopping.json"))
    arguments = parser.parse_args()
    problems = [Comparison(objectives, (arguments.trials, arguments.stopping)) for objectives in OBJECTIVES]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.repetitions)
    for number, seed in enumerate(seeds, start=1):
        for problem in problems:
            problem.repeat(seed)
        # Kept after each repetition, so that a run that is stopped has not been for nothing.
        results = {**about(), "repetitions": number, "problems": [problem.result() for problem in problems]}
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
        print(f"repetition {number} of {arguments.repetitions}", file=sys.stderr, flush=True)
    results["ranking"] = ranking(seeds)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["ranking"], indent=1))
    for problem in problems:
        show(problem.result())


if __name__ == "__main__":
    main()
