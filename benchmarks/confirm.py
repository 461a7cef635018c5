"""Confirm made-up architectures whose true quality is known: how often is what is reported true?

    python benchmarks/confirm.py --studies 500 --out benchmarks/results/confirm.json

A study draws a bare host and candidates. True qualities have a standard deviation of 0.34 points, single trainings one
of 0.41 around them (both measured with ResNet-20 on 16x16 CIFAR-10), of which the share `paired` is a seed's and common
to all architectures; costs are uniform, the host is the cheapest. The search gives each candidate one short training,
which ranks like 0.5 (correlation) with the truth. Then the same number of trainings is spent in three ways:

- single: one long training of every candidate (or, of twice the budget, two);
- plain: three seeds of what the search puts on the front or closest behind it, as many as fit;
- race: two seeds of as many as 0.8 of the budget hold, the rest where it decides most, up to eight seeds each.

`best`: how often the architecture with the highest reported mean is truly the best of all. `regret`: by how many
points it is truly worse than that. `front`: how often the reported front is the true one, to the last member.
`front regret`: for each architecture's cost, how much truly better one could have done for that cost than by taking
the reported front's best; the mean over the costs. Intervals are of 95 % over studies; differences are those within
the same studies.

A/A: architectures that are the host itself under another name. `alike`: all candidates are. `twin`: one is, among
others that differ. How often is one of them called better than the host (for `twin`, that one)? By the words of the
report, and, to show what the corrections are for, by t-tests of 5 % at the end of the race with Holm's correction but
without that for looking, without either, and by whoever looks after each seed and stops at the first "better". And the
same where noise has heavy tails (Student's t, 4 degrees of freedom). `found`: of those truly better than the host by
0.5 points or more, the share that is called better. `dropped`: of those truly on the front, the share that the race
drops.
"""

import argparse
import json
import math
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from nas.confirm.racing import Entry, Outcome, Rules, Run, Step, next_step
from reports.statistics.intervals import correct_for_many, paired_difference
from reports.statistics.seed_effects import fit_additive
from reports.statistics.sequential import Looks

Floats = npt.NDArray[np.float64]

TRUE_SD, SEED_SD, SEARCH_CORRELATION = 0.34, 0.41, 0.5
SEEDS, MAX_SEEDS = 2, 8
FIRST_SHARE = 0.8
"""Of the budget for the first seeds of all; as in `nas.confirm.confirmations`."""
CLEAR = 0.5
"""Points over the host that `found` counts from."""


@dataclass(frozen=True)
class Study:
    """Less is better everywhere; the host is number 0."""

    truth: Floats
    costs: Floats
    order: tuple[int, ...]
    """By how promising the search found them; the host first."""
    trainings: Floats
    """(architectures, seeds)"""


def draw(rng: np.random.Generator, num: int, paired: float, *, twins: int = 0, heavy: bool = False) -> Study:
    """Draw a study of a host and `num` candidates, of which the last `twins` are the host again."""
    truth = rng.normal(0, TRUE_SD, num + 1)
    costs = np.concatenate([[0.0], rng.random(num)])
    truth[num + 1 - twins :] = truth[0]
    search = truth + rng.normal(0, TRUE_SD * math.sqrt(1 / SEARCH_CORRELATION**2 - 1), num + 1)
    shape = (num + 1, MAX_SEEDS)
    noise = rng.standard_t(4, shape) / math.sqrt(2) if heavy else rng.standard_normal(shape)
    common = rng.standard_normal((1, MAX_SEEDS))
    trainings = truth[:, None] + SEED_SD * (math.sqrt(paired) * common + math.sqrt(1 - paired) * noise)
    cheaper = (costs[None, :] <= costs[:, None]) & ~np.eye(num + 1, dtype=bool)
    behind = (search[:, None] - np.where(cheaper, search[None, :], np.inf)).max(axis=1, initial=-np.inf)
    order = (0, *(int(i) for i in np.argsort(behind, kind="stable") if i))
    return Study(truth, costs, order, trainings)


def race(study: Study, chosen: Sequence[int], budget: int | None) -> tuple[Floats, Step]:
    """Return what the race measured, (architectures, seeds) with NaN, and its end; entries are in `chosen`'s order."""
    entries = [Entry((float(study.costs[i]),), None if i == 0 else 0) for i in chosen]
    outcomes: dict[Run, Outcome] = {
        (k, seed): (float(study.trainings[i, seed]),) for k, i in enumerate(chosen) for seed in range(MAX_SEEDS)
    }
    step = next_step(entries, Rules(SEEDS, MAX_SEEDS, budget), outcomes)
    measured = np.full(study.trainings.shape, np.nan)
    for k, seed in step.asked:
        measured[chosen[k], seed] = study.trainings[chosen[k], seed]
    return measured, step


def spend(study: Study, budget: int) -> dict[str, Floats]:
    """Return what each way of spending the budget measures."""
    single, plain = (np.full(study.trainings.shape, np.nan) for _ in range(2))
    seeds = budget // len(study.truth)
    single[:, :seeds] = study.trainings[:, :seeds]
    few = list(study.order[: budget // 3])
    plain[few, :3] = study.trainings[few, :3]
    many = study.order[: max(2, int(FIRST_SHARE * budget) // SEEDS)]
    return {"single": single, "plain": plain, "race": race(study, many, budget)[0]}


def score(study: Study, measured: Floats) -> dict[str, float]:
    """Compare what is reported with the truth."""
    means = fit_additive(measured).means
    best = int(np.nanargmin(means))
    true_front, reported = front(study.truth, study.costs), front(means, study.costs)
    taken = [min((i for i in reported if study.costs[i] <= cost), key=lambda i: means[i]) for cost in study.costs]
    possible = [study.truth[study.costs <= cost].min() for cost in study.costs]
    return {
        "best": float(best == study.truth.argmin()),
        "regret": float(study.truth[best] - study.truth.min()),
        "front": float(reported == true_front),
        "front regret": float(np.mean(study.truth[taken] - possible)),
    }


def front(quality: Floats, costs: Floats) -> list[int]:
    """Return what nothing of lower or equal cost beats; NaN is not measured."""
    found: list[int] = []
    for i in np.argsort(costs, kind="stable"):
        if np.isfinite(quality[i]) and (not found or quality[i] < quality[found[-1]]):
            found.append(int(i))
    return found


def better(measured: Floats, *, looks: Looks | None, holm: bool) -> set[int]:
    """Return what is called better than the host."""
    rows = [{k: float(v) for k, v in enumerate(row) if np.isfinite(v)} for row in measured]
    compared = [i for i in range(1, len(rows)) if rows[i]]
    words = [paired_difference(rows[i], rows[0], maximise=False, looks=looks) for i in compared]
    words = correct_for_many(words) if holm else words
    return {i for i, word in zip(compared, words, strict=True) if word.verdict == "better"}


def spending(num: int, multiple: int, paired: float, studies: int) -> dict[str, Any]:
    """Compare the three ways for one size."""
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(studies):
        study = draw(np.random.default_rng([number, num, multiple]), num, paired)
        for way, measured in spend(study, multiple * (num + 1)).items():
            for name, value in score(study, measured).items():
                found.setdefault(way, {}).setdefault(name, []).append(value)
    rows: dict[str, Any] = {way: {name: _mean(v) for name, v in scores.items()} for way, scores in found.items()}
    for other in ("single", "plain"):
        rows[f"race - {other}"] = {
            name: _mean([a - b for a, b in zip(found["race"][name], found[other][name], strict=True)])
            for name in found["race"]
        }
    return {"candidates": num, "trainings": multiple * (num + 1), "paired": paired, "ways": rows}


def same_network(num: int, paired: float, budget: int | None, heavy: bool, studies: int) -> dict[str, Any]:
    """Count false words in the A/A cases."""
    looks = Looks(SEEDS, MAX_SEEDS)
    tests: dict[str, Callable[[Floats], set[int]]] = {
        "report": lambda m: better(m, looks=looks, holm=True),
        "Holm without looks": lambda m: better(m, looks=None, holm=True),
        "t-test of each": lambda m: better(m, looks=None, holm=False),
        "Holm, stopped when it suits": lambda m: set().union(
            *(better(m[:, :n], looks=None, holm=True) for n in range(SEEDS, MAX_SEEDS + 1))
        ),
    }
    counts = {case: dict.fromkeys(tests, 0) for case in ("alike", "twin")}
    for number in range(studies):
        for case, twins in (("alike", num), ("twin", 1)):
            rng = np.random.default_rng([number, num, twins, budget or 0])
            study = draw(rng, num, paired, twins=twins, heavy=heavy)
            measured, _ = race(study, study.order, budget)
            for name, test in tests.items():
                counts[case][name] += any(i > num - twins for i in test(measured))
    shares = {case: {name: _share(n, studies) for name, n in found.items()} for case, found in counts.items()}
    return {"candidates": num, "paired": paired, "budget": budget, "heavy": heavy, "called better": shares}


def what_is_found(num: int, paired: float, studies: int) -> dict[str, Any]:
    """Count what is called better of what truly is, and what a race without a budget drops of the true front."""
    found = {name: [0, 0] for name in ("race", "3 seeds each", "8 seeds each", "dropped")}
    trainings = 0
    for number in range(studies):
        study = draw(np.random.default_rng([number, num]), num, paired)
        measured, step = race(study, study.order, None)
        trainings += len(step.asked)
        clear = {i for i in range(1, num + 1) if study.truth[i] <= study.truth[0] - CLEAR}
        called = {
            "race": better(measured, looks=Looks(SEEDS, MAX_SEEDS), holm=True),
            "3 seeds each": better(study.trainings[:, :3], looks=None, holm=True),
            "8 seeds each": better(study.trainings, looks=None, holm=True),
        }
        for name, words in called.items():
            found[name][0] += len(clear & words)
            found[name][1] += len(clear)
        true_front = set(front(study.truth, study.costs))
        found["dropped"][0] += len(true_front & {study.order[k] for k in step.beaten})
        found["dropped"][1] += len(true_front)
    shares = {name: _share(n, total) for name, (n, total) in found.items()}
    return {"candidates": num, "paired": paired, "seeds per entry": trainings / studies / (num + 1), "found": shares}


def _mean(values: Sequence[float]) -> list[float]:
    """Return the mean with its normal interval."""
    half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return [mean, mean - half, mean + half]


def _share(count: int, total: int) -> list[float]:
    """Return a share with Wilson's interval; NaN of nothing."""
    if not total:
        return [math.nan] * 3
    z = float(norm.ppf(0.975))
    share = count / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return [share, middle - half, middle + half]


def _show(values: Sequence[float], scale: float = 1.0) -> str:
    return f"{scale * values[0]:7.3f} [{scale * values[1]:6.3f}, {scale * values[2]:6.3f}]"


def _print(results: dict[str, Any]) -> None:
    for each in results["spending"]:
        print(f"\n{each['candidates']} candidates, {each['trainings']} trainings, paired {each['paired']}")
        for way, scores in each["ways"].items():
            print(f"  {way:<14}" + "  ".join(f"{name} {_show(value)}" for name, value in scores.items()))
    for each in results["same network"]:
        print(f"\nA/A, {each['candidates']} candidates, paired {each['paired']}, ", end="")
        print(f"budget {each['budget']}, heavy tails {each['heavy']}: called better, %")
        for case, shares in each["called better"].items():
            print(f"  {case:<6}" + "  ".join(f"{name} {_show(value, 100)}" for name, value in shares.items()))
    for each in results["found"]:
        print(f"\n{each['candidates']} candidates, {each['seeds per entry']:.1f} seeds each in the race, %")
        print("  " + "  ".join(f"{name} {_show(value, 100)}" for name, value in each["found"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/confirm.json"))
    arguments = parser.parse_args()
    n = arguments.studies
    results = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "studies": n,
        "spending": [
            spending(num, multiple, paired, n)
            for num, multiple, paired in (
                (10, 1, 0.5), (20, 1, 0.5), (40, 1, 0.5),
                (10, 2, 0.5), (20, 2, 0.5), (40, 2, 0.5), (20, 2, 0.0), (20, 2, 0.8),
            )
        ],
        "same network": [
            same_network(num, paired, budget, heavy, n)
            for num, paired, budget, heavy in (
                (1, 0.5, None, False), (10, 0.5, None, False), (20, 0.5, None, False), (20, 0.5, 84, False),
                (20, 0.5, None, True),
            )
        ],
        "found": [what_is_found(num, 0.5, n // 2) for num in (10, 20)],
    }  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    _print(results)


if __name__ == "__main__":
    main()
