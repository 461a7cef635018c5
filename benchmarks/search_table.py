"""Compares samplers, with and without early stopping, on really trained placements: hypervolume over training cost.

    python benchmarks/search_table.py --repetitions 24

(b) of the search benchmarks; (a), whose truth is known, is `search.py`. Searches are replayed from the table that
`make_table.py` made: a space of 256 placements, each trained with every seed at three lengths. Each repetition has a
sampler's seed of its own and takes the table's seeds for its trainings in turn. Cost counts every epoch that is
trained, cool-downs and the baselines that begin each search included; CPU seconds are those of the table.

Reported are hypervolumes of what is true as far as it is known: the mean of whole trainings with the seeds that the
search did not use. `held`: of what the search shows as its front; `archive`: of all that it trained to its end. The box
reaches from the bare host's quality and the dearest placement to the best quality and the cheapest. `reached`: the cost
from which on the mean over repetitions is not below that of random search without early stopping at its end, as a share
of that search's cost, with a bootstrap's interval over repetitions (95 %). All intervals are over repetitions of
searches in this one table; the table's own seeds are few, and theirs are not in them.

Beside it: what early stopping saved and lost, against what the trials that it let live say; and what one training tells
of a rank (`table_ranking.py`).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from over_cost import mean_with_interval, over_costs, summarise
from placement_table import Floats, Table, read_table
from replay import Curves, Replayed, about, replay
from replay_table import Lookup, table_search
from scipy.stats import binomtest
from search import OPTUNA, OURS, TPE, optuna_nsga2
from table_ranking import ranking

from nas.samplers import AUTO, SAMPLERS, SamplerEntry, resolve_sampler
from reports.statistics.pareto import hypervolume, nondominated

LOSS, ACCURACY = ("loss", "params"), ("accuracy", "params")
AT = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Shares of what random search without early stopping costs, at which curves are printed."""
GRID = 401
Key = tuple[str, bool]
"""A sampler, and whether it stops early."""


class Comparison:
    """Searches under some objectives, repetition by repetition.

    Args:
        table: the trainings.
        objectives: a quality, then costs.
        limits: samplers, and how many trials each has.
        workers: trials at a time; with more than one, nothing waits for a generation.
    """

    def __init__(self, table: Table, objectives: tuple[str, ...], limits: dict[str, int], workers: int) -> None:
        self._table, self._objectives, self._limits, self._workers = table, objectives, limits, workers
        keys = [(kind, stops) for kind in limits for stops in (False, True)]
        self._found: dict[Key, list[tuple[Lookup, Replayed]]] = {key: [] for key in keys}
        self._seconds = dict.fromkeys(self._found, 0.0)

    def repeat(self, seed: int) -> None:
        """Run every search once more."""
        for kind, stops in self._found:
            begin = time.process_time()
            trials = self._limits[kind]
            name = resolve_sampler(AUTO, self._table.space, len(self._objectives), trials) if kind == OURS else kind
            search = table_search(self._table, name, trials, seed, stops=stops, workers=self._workers)
            lookup = Lookup(self._table, self._objectives, search.trial_seed)
            self._found[kind, stops].append((lookup, replay(lookup.problem(), search)))
            self._seconds[kind, stops] += time.process_time() - begin

    def result(self) -> dict[str, Any]:
        """Return the curves over cost in epochs, seconds and wall time, and what early stopping did."""
        return {
            "objectives": list(self._objectives),
            "workers": self._workers,
            "trials": self._limits,
            "hypervolume of the whole table": self._most(),
            "over": {what: self._over(what) for what in ("epochs", "cpu_s" if self._workers == 1 else "wall_s")},
            "early stopping": {
                kind: stopping_told_and_true(self._found[kind, True], self._table) for kind in self._limits
            },
            "cpu s per search": {_name(key): round(s / len(self._found[key]), 2) for key, s in self._seconds.items()},
        }

    def _most(self) -> list[float]:
        """Return what a search would reach that knew the truth of everything."""
        found = []
        for seed in self._table.seeds:
            lookup = Lookup(self._table, self._objectives, seed)
            true = lookup.problem().scaled([lookup.truth(each) for each in self._table.row])
            found.append(round(hypervolume(true, np.ones(true.shape[1])), 4))
        return found

    def _over(self, what: str) -> dict[str, Any]:
        full = [getattr(found.total, what) for _, found in self._found["random", False]]
        grid = np.linspace(0, 1.5 * float(np.mean(full)), GRID)
        grown = {key: [self._curves(*each, what, grid) for each in found] for key, found in self._found.items()}
        unit = float(np.mean(full))
        return {
            "random search's cost": round(unit, 1),
            "searches": {
                _name(key): {
                    "cost": mean_with_interval([getattr(found.total, what) / unit for _, found in self._found[key]]),
                    **summarise(each, grown["random", False], grid / unit, AT),
                }
                for key, each in grown.items()
            },
        }

    @staticmethod
    def _curves(lookup: Lookup, found: Replayed, what: str, grid: Floats) -> Curves:
        return over_costs(lookup.problem(), found, [getattr(cost, what) for cost in found.costs], grid)


def _name(key: Key) -> str:
    return f"{key[0]}, stopping early" if key[1] else key[0]


def stopping_told_and_true(searches: Sequence[tuple[Lookup, Replayed]], table: Table) -> dict[str, Any]:
    """Return what early stopping did in some searches: what they could tell themselves, and what the table knows."""
    rows = [_one_search(lookup, found, table) for lookup, found in searches]
    total = {name: int(sum(row[name] for row in rows)) for name in ("stopped", "belonged", "spared", "spared_on_front")}
    covered = [
        low <= row["belonged"] / row["stopped"] <= high
        for row in rows
        if row["spared"] and row["stopped"]
        for low, high in [binomtest(int(row["spared_on_front"]), int(row["spared"])).proportion_ci(method="exact")]
    ]
    return {
        "epochs trained, of those without": mean_with_interval([row["epochs"] for row in rows]),
        "stopped per search": mean_with_interval([row["stopped"] for row in rows]),
        "of the stopped, belonged on the front": round(total["belonged"] / max(1, total["stopped"]), 4),
        "the same, said by those let live": round(total["spared_on_front"] / max(1, total["spared"]), 4),
        "let live": total["spared"],
        "searches whose interval holds the truth": f"{sum(covered)} of {len(covered)}",
        "hypervolume lost (held)": mean_with_interval([row["lost_held"] for row in rows]),
        "hypervolume lost (archive)": mean_with_interval([row["lost_archive"] for row in rows]),
    }


def _one_search(lookup: Lookup, found: Replayed, table: Table) -> dict[str, float]:
    """Judge a search's stopped trials by what they would have had at their end with the same seed."""
    problem = lookup.problem()
    finished, stopped = ([trial.user_attrs["hash"] for trial in some] for some in (found.finished, found.stopped))
    told = problem.scaled([lookup.at_its_end(each) for each in (*finished, *stopped)])
    true = problem.scaled([lookup.truth(each) for each in (*finished, *stopped)])
    num = len(finished)
    front = nondominated(told[:num])
    spared = np.array(["spared" in trial.user_attrs for trial in found.finished])
    belonged = sum(nondominated(np.vstack([told[:num], told[num + i]]))[-1] for i in range(len(stopped)))
    unit = np.ones(told.shape[1])
    num_proposals = sum(trial.user_attrs["role"] == "proposal" for trial in (*found.finished, *found.stopped))
    baselines = (len(finished) + len(stopped) - num_proposals) * table.full
    return {
        "epochs": (found.total.epochs - baselines) / (num_proposals * table.full),
        "stopped": len(stopped),
        "belonged": int(belonged),
        "spared": int(spared.sum()),
        "spared_on_front": int((front & spared).sum()),
        "lost_held": hypervolume(true[nondominated(told)], unit) - hypervolume(true[:num][front], unit),
        "lost_archive": hypervolume(true, unit) - hypervolume(true[:num], unit),
    }


def show(result: dict[str, Any]) -> None:
    """Print one comparison."""
    for over, found in result["over"].items():
        for what in ("held", "archive"):
            print(f"\n{', '.join(result['objectives'])}; {result['workers']} workers; {what}, over {over}")
            print(
                f"{'':<34}"
                + "".join(f"{share:>9.0%}" for share in AT)
                + "   at its end               reached       its cost"
            )
            for name, each in found["searches"].items():
                end = "{:.3f} [{:.3f}, {:.3f}]".format(*each[f"at its end ({what})"])
                best, low, high = ("never" if share is None else f"{share:.0%}" for share in each[f"reached ({what})"])
                cells = "".join(f"{mean:>9.3f}" for mean, *_ in each[what])
                print(f"{name:<34}{cells}   {end}   {best} [{low}, {high}]   {each['cost'][0]:.0%}")
    print(json.dumps(result["early stopping"], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=24)
    parser.add_argument("--trials", type=int, default=200, help="of random search and of ours")
    parser.add_argument("--optuna", type=int, default=80, help="of Optuna's NSGA-II, which repeats itself")
    parser.add_argument("--tpe", type=int, default=40, help="of tpe, whose draws take long")
    parser.add_argument("--workers", type=int, default=8, help="of the searches that do not wait")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search-table.json"))
    arguments = parser.parse_args()
    SAMPLERS[OPTUNA] = SamplerEntry(OPTUNA, "Optuna's own", lambda _: 20, optuna_nsga2)
    table = read_table()
    results: dict[str, Any] = {**_about(table), "ranking": ranking(table), "repetitions": arguments.repetitions}
    ours = {"random": arguments.trials, OURS: arguments.trials}
    problems = (
        Comparison(table, LOSS, {**ours, OPTUNA: arguments.optuna, TPE: arguments.tpe}, 1),
        Comparison(table, ACCURACY, ours, 1),
        Comparison(table, LOSS, ours, arguments.workers),
    )
    for number, problem in enumerate(problems, start=1):
        for seed in range(arguments.repetitions):
            problem.repeat(seed)
        print(f"{number} of {len(problems)} comparisons", file=sys.stderr, flush=True)
    results["searches"] = [problem.result() for problem in problems]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    for result in results["searches"]:
        show(result)


def _about(table: Table) -> dict[str, Any]:
    return {**about(), "table": {"architectures": table.space.size, "seeds": list(table.seeds), **table.made_on}}


if __name__ == "__main__":
    main()
