"""Made-up accuracies of placements with the structure that real ones are thought to have, and real costs.

The space is ResNet-32 for CIFAR with one of 13 options (none, SE, ECA, CBAM, BA with their knobs) at each of 15 blocks
and one of 10 (none, BAM with its knobs) at two stage ends. In points of accuracy, over the bare host:

- each option at each site has an effect: the site's weight x (the module's effect + its slope x depth + its knobs' part
  + a part of this site and option alone);
- returns diminish: the sum x > 0 counts as G (1 - exp(-x / G));
- eight pairs of (site, module) help or hurt each other;
- overcrowding costs the square of what is occupied above half of the sites.

All is drawn anew for each seed and scaled so that the truth of placements with a uniform number of modules spreads by
0.34 points, and a training adds noise of 0.41 points (measured with ResNet-20 on 16x16 CIFAR-10). Parameters and MACs
are those of the networks. Latency is a model: a fixed time per module by its kind, and a time per value of the map.

Trainings may be short. What is true of a placement after a rung's epochs is a mixture of the truth and of another one,
drawn in the same way, so that modules, places and options that learn quickly mislead in every placement that has them.
`agreement` is the correlation of both truths; a training that short adds noise as large as a whole one's in proportion
to the spread, independent of that of other lengths. So a rung's value correlates with the truth at 0.64 x agreement,
and a whole training's at 0.64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from replay import Floats, Problem, made_up_record

from nas.study.ledger_trial import Proposal
from search_spaces import Architecture, SearchSpace
from search_spaces.fitting import NONE
from trials.latency import Latency
from trials.record import TrialRecord
from trials.train_config import TrainConfig

TRUE_SD, NOISE_SD = 0.34, 0.41
HOST_ACCURACY, HOST_MS = 0.92, 10.0
NUM_PAIRS = 8
EPOCHS, RUNGS = 18, (2, 6)
RUNG_ACCURACY, RUNG_SPREAD = {2: 0.70, 6: 0.85}, {2: 2.0, 6: 1.4}
"""Of the bare host after so many epochs; and of placements, with the noise, over that of whole trainings."""
_TRUTH, _EARLY = 0x5EA, 0xEA7
"""Keep the two truths' random numbers apart."""
OVERHEAD_MS = {"se": 0.06, "eca": 0.05, "cbam": 0.16, "ba": 0.12, "bam": 0.25}
MS_PER_MILLION_VALUES = {"se": 1.0, "eca": 1.0, "cbam": 3.0, "ba": 2.0, "bam": 3.0}
EVERY = ("accuracy", "params", "macs", "latency_ms")

Indices = npt.NDArray[np.int64]
"""(placements, decisions)"""


@cache
def space() -> SearchSpace:
    """Return the space of 13**15 * 10**2 placements."""
    gates = {
        "none": {},
        "se": {"reduction": [4, 8, 16]},
        "eca": {"kernel_size": [3, 5, 7]},
        "cbam": {"reduction": [4, 8, 16]},
        "ba": {"reduction": [4, 8, 16]},
    }
    ends = {"none": {}, "bam": {"reduction": [4, 8, 16], "dilation": [1, 2, 4]}}
    return SearchSpace.from_dict(
        {
            "host": {"name": "resnet32", "classes": 10, "input": 32},
            "choices": [{"at": "*/branch", "modules": gates}, {"at": "*/end", "modules": ends}],
        }
    )


@dataclass(frozen=True)
class Costs:
    """What each option adds at each decision, and what the bare host has: parameters, MACs, milliseconds."""

    host: Floats
    added: tuple[Floats, ...]
    """Per decision, (options, 3)."""

    def of(self, indices: Indices) -> Floats:
        """Return (placements, 3)."""
        return self.host + sum(added[column] for added, column in zip(self.added, indices.T, strict=True))


@cache
def costs() -> Costs:
    """Return the costs of the space's options."""
    bare = [0] * len(space().decisions)
    host = _params_and_macs(bare)
    added = []
    for number, decision in enumerate(space().decisions):
        (site,) = decision.members  # type: ignore[union-attr]
        rows = []
        for index, option in enumerate(decision.options):
            params, macs = _params_and_macs([*bare[:number], index, *bare[number + 1 :]]) - host
            values = site.channels * site.resolution[0] * site.resolution[1] / 1e6
            ms = (
                0
                if option.module == NONE
                else OVERHEAD_MS[option.module] + values * MS_PER_MILLION_VALUES[option.module]
            )
            rows.append((params, macs, ms))
        added.append(np.array(rows, dtype=np.float64))
    return Costs(np.array([*host, HOST_MS]), tuple(added))


def _params_and_macs(indices: Sequence[int]) -> Floats:
    cost = space().cost(indices)
    return np.array([cost.params, cost.macs], dtype=np.float64)


class Placements:
    """The truth for one seed: points of accuracy over the bare host."""

    def __init__(self, seed: int, stream: int = _TRUTH) -> None:
        rng = np.random.default_rng([seed, stream])
        decisions = space().decisions
        modules = sorted({option.module for decision in decisions for option in decision.options} - {NONE})
        effect = dict(zip(modules, rng.normal(0.5, 0.35, len(modules)), strict=True))
        slope = dict(zip(modules, rng.normal(0.0, 0.5, len(modules)), strict=True))
        knobs: dict[str, float] = {}
        self._effects = []
        for number, decision in enumerate(decisions):
            weight, depth = rng.lognormal(0.0, 0.5), 2 * number / (len(decisions) - 1) - 1
            row = []
            for option in decision.options:
                part = knobs.setdefault(str(option.spec), rng.normal(0.0, 0.15))
                own = effect[option.module] + slope[option.module] * depth if option.spec else 0.0
                row.append(weight * (own + part + rng.normal(0.0, 0.1)) if option.spec else 0.0)
            self._effects.append(np.array(row))
        self._pairs = [self._draw_pair(rng) for _ in range(NUM_PAIRS)]
        self._limit = float(sum(np.maximum(row, 0).max() for row in self._effects)) / 3
        self._scale = 1.0
        self._scale = TRUE_SD / float(self.points(sparse_to_dense(rng, 4000)).std())

    def _draw_pair(self, rng: np.random.Generator) -> tuple[int, Floats, int, Floats, float]:
        sites = rng.choice(len(self._effects), 2, replace=False)
        masks = []
        for site in sites:
            options = space().decisions[site].options
            module = rng.choice(sorted({option.module for option in options} - {NONE}))
            masks.append(np.array([float(option.module == module) for option in options]))
        return int(sites[0]), masks[0], int(sites[1]), masks[1], float(rng.normal(0.0, 1.0))

    def points(self, indices: Indices) -> Floats:
        """Return (placements,)."""
        total = sum(row[column] for row, column in zip(self._effects, indices.T, strict=True))
        gain = np.where(total > 0, self._limit * -np.expm1(-np.maximum(total, 0) / self._limit), total)
        for one, mine, other, theirs, effect in self._pairs:
            gain = gain + effect * mine[indices[:, one]] * theirs[indices[:, other]]
        crowded = np.maximum(0, (indices != 0).mean(axis=1) - 0.5)
        return np.asarray(self._scale * (gain - 2 * self._limit * crowded**2))

    @cached_property
    def most(self) -> float:
        """The most points found by climbing, one decision at a time, from twenty placements."""
        rng = np.random.default_rng(0)
        return max(self._climb(start) for start in sparse_to_dense(rng, 20))

    def _climb(self, start: Indices) -> float:
        best, value = start, float(self.points(start[None])[0])
        while True:
            near = np.array(space().neighbours(tuple(best.tolist())))
            values = self.points(near)
            if values.max() <= value:
                return value
            best, value = near[values.argmax()], float(values.max())


def sparse_to_dense(rng: np.random.Generator, num: int) -> Indices:
    """Draw placements with a uniform number of modules; index 0 is none everywhere."""
    sizes = np.array([len(decision.options) for decision in space().decisions])
    drawn = rng.integers(1, sizes, size=(num, len(sizes)))
    shares = rng.integers(len(sizes) + 1, size=(num, 1))
    return np.where(rng.random(drawn.shape).argsort(axis=1).argsort(axis=1) < shares, drawn, 0)


class Trainings:
    """What trainings of any length of a seed's placements give."""

    def __init__(self, seed: int, agreement: float) -> None:
        self.truth = Placements(seed)
        self._early, self._seed, self._agreement = Placements(seed, _EARLY), seed, agreement
        drawn = sparse_to_dense(np.random.default_rng([seed, _EARLY]), 4000)
        truth, early = self.truth.points(drawn), self._early.points(drawn)
        # What both have in common by the number of modules alone is taken out: it would be an agreement of 0.6.
        self._shared = float(np.cov(truth, early)[0, 1] / truth.var(ddof=1))
        self._scale = TRUE_SD / float((early - self._shared * truth).std())

    def told(self, architecture: Architecture, epochs: int) -> float:
        """Return the accuracy after a training of so many epochs; of any other number than a rung's, a whole one."""
        digits, row = int(architecture.hash[:15], 16), encoded(architecture)
        if epochs not in RUNGS:
            noise = np.random.default_rng([self._seed, digits]).normal(0, NOISE_SD)
            return HOST_ACCURACY + (float(self.truth.points(row)[0]) + noise) / 100
        noise = np.random.default_rng([self._seed, digits, epochs]).normal(0, NOISE_SD)
        return RUNG_ACCURACY[epochs] + RUNG_SPREAD[epochs] * (float(self.early(row)[0]) + noise) / 100

    def early(self, indices: Indices) -> Floats:
        """Return what is true at every rung, in points of whole trainings, (placements,)."""
        truth = self.truth.points(indices)
        own = self._scale * (self._early.points(indices) - self._shared * truth)
        return np.asarray(self._agreement * truth + math.sqrt(1 - self._agreement**2) * own)


def make_problem(seed: int, objectives: tuple[str, ...], agreement: float = 1.0) -> Problem:
    """Return the problem of a seed; `agreement` counts only where trainings have rungs, at `RUNGS` of `EPOCHS`."""
    trainings = Trainings(seed, agreement)
    known: dict[str, dict[str, float]] = {}

    def truth(architecture_hash: str) -> list[float]:
        return [known[architecture_hash][name] for name in objectives]

    def train(proposal: Proposal) -> TrialRecord:
        values = known[proposal.architecture.hash] = _everything(trainings.truth, proposal.architecture)
        return made_up_record(
            proposal,
            first_epoch=first_epoch(proposal),
            accuracy=trainings.told(proposal.architecture, proposal.target),
            loss=1.0,
            params=int(values["params"]),
            macs=int(values["macs"]),
            latency=_latency(values["latency_ms"]),
        )

    dearest = costs().host + sum(added.max(axis=0) for added in costs().added)
    best = dict(zip(EVERY, (-(HOST_ACCURACY + trainings.truth.most / 100), *costs().host), strict=True))
    worst = dict(zip(EVERY, (-HOST_ACCURACY, *dearest), strict=True))
    ideal, corner = (np.array([box[name] for name in objectives]) for box in (best, worst))
    return Problem(space(), objectives, train, truth, ideal, corner)


def first_epoch(proposal: Proposal) -> int:
    """Return where a proposal's present leg begins: where the cool-down of the leg before it did."""
    before = [rung for rung in proposal.rungs if rung < proposal.target]
    return TrainConfig(epochs=before[-1], batch_size=1, lr=0.1, schedule="wsd").stable_epochs + 1 if before else 1


def encoded(architecture: Architecture) -> Indices:
    """Return an architecture's option indices, (1, decisions)."""
    indices = space().encode(architecture)
    assert indices is not None, "a baseline outside the space has no effects"
    return np.array([indices])


def _everything(placements: Placements, architecture: Architecture) -> dict[str, float]:
    row = encoded(architecture)
    accuracy = HOST_ACCURACY + float(placements.points(row)[0]) / 100
    params, macs, ms = costs().of(row)[0]
    return {"accuracy": accuracy, "params": float(params), "macs": float(macs), "latency_ms": float(ms)}


def _latency(ms: float) -> Latency:
    return Latency(median_ms=ms, p10_ms=ms, p90_ms=ms, repeats=1, batch_size=1, device="made up", threads=1)
