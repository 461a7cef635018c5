"""The report's statistics against known truths: do intervals cover, does A/A stay silent, is the winner's luck removed.

    python benchmarks/report_statistics.py              # writes benchmarks/results/report_statistics.json
    python benchmarks/report_statistics.py --studies 40 # quick

True accuracies are made up, so that what the report says of them can be judged. Noise is that of CIFAR-10 trainings:
a seed moves all architectures alike (sd 0.3 points), and each training by itself (sd 0.25 points). Shares come with
their exact 95 % intervals (Clopper and Pearson) over independent studies; where one study has many intervals, each
study counts as one.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from reports.findings.enrichment import jeffreys_interval
from reports.findings.importance import Model, effects_in, explained, named_effects
from reports.findings.placement_design import design_of
from reports.findings.recommend import over_best_handmade
from reports.findings.replicates import compare_with_itself
from reports.findings.winners_curse import correct_best
from reports.front.summary import Measured, Summary
from reports.statistics.intervals import paired_difference, t_interval
from search_spaces import Architecture, find_sites
from trials import TrialRecord

SEED_SD, REST_SD = 0.003, 0.0025
HOST = {"name": "resnet20", "classes": 10, "input": 32}
MODULES = ("se", "eca", "cbam")
IMAGES = 10**9
"""So many that the step of one image plays no part."""
Generator = np.random.Generator


def architectures(num: int, rng: Generator) -> list[Architecture]:
    """Draw placements: each branch has nothing, or one of three modules."""
    host = Architecture.from_dict({"host": HOST, "placement": {}}).host
    sites = [site.name for site in find_sites(host) if site.place == "branch"]
    found: dict[str, Architecture] = {}
    while len(found) < num:
        drawn = {site: {"module": MODULES[k]} for site in sites if (k := int(rng.integers(-2, len(MODULES)))) >= 0}
        architecture = Architecture.from_dict({"host": HOST, "placement": drawn})
        found[architecture.hash] = architecture
    return list(found.values())


def record(architecture: Architecture, seed: int, accuracy: float, macs: int) -> TrialRecord:
    return TrialRecord(
        architecture={}, architecture_id=architecture.id, architecture_hash=architecture.hash, seed=seed, epochs=24,
        status="complete", accuracy=accuracy, loss=1 - accuracy, params=macs, macs=macs, wall_s=1.0, images_per_s=None,
        memory_bytes=None, memory_method="", device="", precision="fp32", num_train=1, num_validation=IMAGES,
        num_test=0, data_sha256="", versions={}, started_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def confirmation(
    placements: Sequence[Architecture], truth: Any, num_seeds: int, rng: Generator, handmade: int = 0
) -> Summary:
    """Return a confirmation of these placements; the first is the bare host, the next are hand-made."""
    values = truth[:, None] + rng.normal(0, SEED_SD, num_seeds) + rng.normal(0, REST_SD, (len(truth), num_seeds))
    rows = [
        tuple(record(each, seed, float(values[i, seed]), 100 + i) for seed in range(num_seeds))
        for i, each in enumerate(placements)
    ]
    labels = ["host", *(f"module {i} everywhere" for i in range(1, handmade + 1))]
    items = [
        Measured(
            each, i, "baseline" if i <= handmade else "proposal", labels[i] if i <= handmade else None,
            rows[i], (float(values[i].mean()), 100.0 + i), peers=tuple(rows), is_bare_host=i == 0,
        )
        for i, each in enumerate(placements)
    ]  # fmt: skip
    return Summary("confirm", 24, ("accuracy", "macs"), tuple(items))


TRUTHS: dict[str, Callable[[int, Generator], Any]] = {
    "normal": lambda n, rng: 0.93 + rng.normal(0, 0.002, n),
    "equal": lambda n, _: np.full(n, 0.93),
    "skewed": lambda n, rng: 0.93 - rng.exponential(0.003, n),
    "one far ahead": lambda n, _: 0.93 + 0.01 * (np.arange(n) == n - 1),
}


def winners(studies: int, placements: Sequence[Architecture]) -> dict[str, Any]:
    """The best of 12 confirmed: its plain mean and its corrected one against its truth."""
    found = {}
    for name, truths in TRUTHS.items():
        rng = np.random.default_rng(1)
        plain, corrected, covered, covered_plain = [], [], [], []
        for _ in range(studies):
            truth = truths(12, rng)
            summary = confirmation(placements[:12], truth, 3, rng)
            best = correct_best(summary)
            assert best is not None
            true = float(truth[summary.items.index(best.item)])
            interval = t_interval([r.accuracy for r in best.item.records if r.accuracy is not None])
            plain.append(100 * (best.found - true))
            corrected.append(100 * (best.corrected - true))
            covered.append(best.low <= true <= best.high)
            covered_plain.append(bool(interval.low <= true <= interval.high))  # type: ignore[operator]
        found[name] = {
            "bias_of_plain_points": mean(plain),
            "bias_of_corrected_points": mean(corrected),
            "corrected_covers": share(covered),
            "plain_t_interval_covers": share(covered_plain),
        }
    return found


def verdicts(studies: int, placements: Sequence[Architecture]) -> dict[str, Any]:
    """Words where there is nothing: the same network twice, and recommendations where all are equal."""
    rng = np.random.default_rng(2)
    paired, halves, any_better, any_worse, covered = [], [], [], [], []
    for _ in range(studies):
        summary = confirmation(placements[:12], TRUTHS["normal"](12, rng), 8, rng)
        itself = compare_with_itself(summary)
        assert itself is not None
        halves.append(itself.found)
        equal = confirmation(placements[:12], TRUTHS["equal"](12, rng), 3, rng, handmade=3)
        against = over_best_handmade(equal, equal.items[1:4])
        any_better.append(any(each.verdict == "better" for each in against.differences.values()))
        any_worse.append(any(each.verdict == "worse" for each in against.differences.values()))
        same = paired_difference(*(item.by_seed(lambda r: r.accuracy) for item in equal.items[-2:]))
        paired.append(same.verdict != "not distinguishable")
        assert same.interval is not None
        covered.append(bool(same.interval.low <= 0 <= same.interval.high))  # type: ignore[operator]
    return {
        "same_network_paired_3_seeds_says_something": share(paired),
        "same_network_paired_3_seeds_interval_covers": share(covered),
        "a_a_halves_of_8_seeds_say_something": mean(halves),
        "all_equal_any_better_than_best_handmade": share(any_better),
        "all_equal_any_worse_than_best_handmade": share(any_worse),
    }


def effects(studies: int, num: int) -> dict[str, Any]:
    """Intervals of effects and R2, with `num` trials; true effects as the prior has them, few, and none."""
    rng = np.random.default_rng(3)
    found = {}
    for name in ("shared", "single decisions", "a few", "none"):
        kinds: dict[str, list[float]] = {}
        predicted, claimed, wrongly = [], [], []
        for _ in range(studies):
            trained = architectures(num, rng)
            design = design_of(trained)
            n = len(design.decisions)
            if name == "shared":
                true = design.features @ rng.normal(0, 0.001, design.features.shape[1])
            elif name == "single decisions":
                true = rng.normal(0, 0.0015, n)
            elif name == "a few":
                true = 0.006 * (rng.random(n) < 0.1)
            else:
                true = np.zeros(n)
            costs = np.stack([1e6 * (1 + 0.004 * design.taken.sum(axis=1)), 1e5 * np.ones(num)], axis=1)
            values = 0.9 + design.taken @ true + rng.normal(0, math.hypot(REST_SD, 0.001), num)
            model = Model(design, costs, [each.host for each in trained], values)
            rows = effects_in(model)
            for row, weight in zip(rows, _weights(model), strict=True):
                kinds.setdefault(row.kind, []).append(float(row.low <= weight @ true <= row.high))
            claims = explained(*model.residuals())
            predicted.append(claims.value)
            claimed.append(claims.low > 0)
            wrongly.append(float(np.mean([row.is_certain for row in rows])))
        found[name] = {
            **{f"{kind}_covers": mean(values) for kind, values in kinds.items()},
            "r2_out_of_sample": mean(predicted),
            "says_it_explains_something": share(claimed),
            "share_of_intervals_without_zero": mean(wrongly),
        }
    return found


def _weights(model: Model) -> list[Any]:
    """Return each effect's sum over decisions, in the order of `effects_in`."""
    return [row for *_, row, _ in named_effects(model.design)]


def enrichment(studies: int) -> dict[str, Any]:
    """The interval of a difference in share, for fronts of 3 to 10 among 20 to 200."""
    rng = np.random.default_rng(4)
    found = {}
    for front, others in ((3, 20), (5, 60), (10, 200)):
        for p, q in ((0.1, 0.1), (0.3, 0.3), (0.6, 0.2), (0.9, 0.5), (0.5, 0.5)):
            covered = []
            for _ in range(10 * studies):
                low, high = jeffreys_interval(int(rng.binomial(front, p)), front, int(rng.binomial(others, q)), others)
                covered.append(low <= p - q <= high)
            found[f"{front} of {others}, {p} against {q}"] = share(covered)
    return found


def share(values: Sequence[bool]) -> dict[str, float]:
    """Return a share with its exact interval."""
    hits = int(sum(values))
    interval = binomtest(hits, len(values)).proportion_ci(method="exact")
    return {
        "share": round(hits / len(values), 4), "low": round(float(interval.low), 4),
        "high": round(float(interval.high), 4), "n": len(values),
    }  # fmt: skip


def mean(values: Sequence[float]) -> dict[str, float]:
    """Return a mean over studies with its interval."""
    interval = t_interval([float(value) for value in values])
    assert interval.half_width is not None
    return {"mean": round(interval.mean, 5), "plus_minus": round(interval.half_width, 5), "n": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "report_statistics.json")
    options = parser.parse_args()
    placements = architectures(12, np.random.default_rng(0))
    few = max(options.studies // 8, 10)
    results = {
        "command": " ".join(["python", "benchmarks/report_statistics.py", *sys.argv[1:]]),
        "studies": options.studies,
        "sd_of_seeds_points": 100 * SEED_SD,
        "sd_of_one_training_points": 100 * REST_SD,
        "winners_curse_best_of_12_with_3_seeds": winners(options.studies, placements),
        "verdicts": verdicts(options.studies, placements),
        "effects_60_trials": effects(few, 60),
        "effects_300_trials": effects(few, 300),
        "enrichment_interval_covers": enrichment(options.studies),
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
