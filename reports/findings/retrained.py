"""What became of the study's architectures when they were trained in full, and whether the short trainings ranked them.

Only trainings by the same recipe on the same images are compared, on the split that the recipe reports on and by its
own metric. Nothing was selected there: who was retrained was decided on the validation split of the study. The order of
the short trainings is held against that of the full ones by the pairs that come in the same order, and Kendall's tau-b
(Kendall, 1945, "The treatment of ties in ranking problems") with its exact p-value where there are no ties.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from reports.front.summary import Measured, Summary
from reports.front.tables import FrontRow, bare_host_of, interval_of
from reports.statistics.intervals import Difference, Interval, correct_for_many, paired_difference, t_interval
from reports.view import Retraining, StudyView
from reports.wording import plural, signed
from search_spaces import Architecture
from trials.retrain.record import RetrainRecord

_FEWEST_TO_RANK = 4
"""Architectures from which on two orders are compared: of three, any order has one chance in six."""


@dataclass(frozen=True)
class RetrainedRow:
    """One architecture of the study, trained in full by one recipe with one seed or several."""

    name: str
    """The baseline's label, else the id in the study."""
    id: str
    """In the study."""
    retrained_id: str
    """Of what was trained: the same placement, in the host for the recipe's images."""
    is_host: bool
    """It is a bare host."""
    is_baseline: bool
    """It is a baseline, the bare host included."""
    records: tuple[RetrainRecord, ...]
    """One per seed, in the order of the seeds."""
    score: Interval
    """The metric that counts; without bounds where there is one seed."""
    metrics: dict[str, Interval]
    """All metrics, that one included."""
    difference: Difference | None
    """Of the score to that of its bare host, paired by seed; None for the host, or where it was not retrained."""
    proxy: Interval | None
    """What the study measured of it in validation; None if it has not (any more)."""
    proxy_difference: Difference | None
    """Of that to its bare host, paired by seed."""
    params: int
    macs: int
    """Of what was trained, at the size of its images."""


@dataclass(frozen=True)
class Agreement:
    """Whether the study's order is that of the full trainings."""

    num: int
    """Architectures."""
    num_pairs: int
    num_same: int
    """Pairs in the same order in both; a tie is in none."""
    num_told_apart: int
    """Pairs that the study tells apart (paired by seed, corrected for all pairs)."""
    num_told_apart_same: int
    """Of these, those in the same order after the full training."""
    tau: float
    p_value: float

    @property
    def in_words(self) -> str:
        """What it says, in two sentences."""
        first = (
            f"Of the {self.num_pairs} pairs of {self.num} architectures {self.num_same} come in the same order in the "
            f"study and after the full training (Kendall's tau {signed(self.tau, 2)}, p = {self.p_value:.2g})."
        )
        if not self.num_told_apart:
            return f"{first} The study tells none of these pairs apart, so that their order there is chance too."
        return (
            f"{first} The study tells {self.num_told_apart} of them apart; of these {self.num_told_apart_same} come in "
            "the same order."
        )


@dataclass(frozen=True)
class RetrainedGroup:
    """All that was trained by one recipe on the same images."""

    recipe: str
    quality: str
    """What the study measured, in words."""
    task: str
    metric: str
    maximise: bool
    split: str
    length: str
    """`90 epochs`."""
    rows: tuple[RetrainedRow, ...]
    """The best first."""
    agreement: Agreement | None
    """None with fewer than four architectures that the study measured too."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that any of the rows has, the one that counts first."""
        names = dict.fromkeys(name for row in self.rows for name in row.metrics)
        return (self.metric, *(name for name in names if name != self.metric))

    @property
    def num_seeds(self) -> int:
        """The most seeds that any of them was retrained with."""
        return max(len(row.records) for row in self.rows)


def retrained_of(view: StudyView, summary: Summary, rows: Sequence[FrontRow]) -> tuple[RetrainedGroup, ...]:
    """Return what was trained in full, a group for each recipe and data set; none where nothing was.

    Args:
        view: the study.
        summary: its confirmation, else its search: what the full trainings are held against.
        rows: the main table of that summary.
    """
    groups: dict[tuple[str, ...], list[Retraining]] = {}
    for each in view.retrained:
        record = each.record
        groups.setdefault((record.recipe_name, record.recipe_hash, record.data_sha256, record.split), []).append(each)
    return tuple(_group(members, view, summary, {row.id: row for row in rows}) for members in groups.values())


def _group(
    members: Sequence[Retraining], view: StudyView, summary: Summary, rows: Mapping[str, FrontRow]
) -> RetrainedGroup:
    first = members[0].record
    seeds: dict[Architecture, dict[int, RetrainRecord]] = {}
    for each in members:
        seeds.setdefault(each.of, {})[each.record.seed] = each.record  # a later one replaces an earlier
    hosts = {each.host: each for each in seeds if view.is_bare_host(each)}
    against = {each: hosts[host] for each in seeds if (host := bare_host_of(each, hosts))}
    compared = {
        each: paired_difference(_scores(seeds[each]), _scores(seeds[host]), maximise=first.maximise)
        for each, host in against.items()
        if each is not host
    }
    differences = dict(zip(compared, correct_for_many(list(compared.values())), strict=True))
    made = [_row(each, own, differences.get(each), view, summary, rows.get(each.id)) for each, own in seeds.items()]
    return RetrainedGroup(
        recipe=first.recipe_name,
        quality=summary.quality.words,
        task=first.task,
        metric=first.metric,
        maximise=first.maximise,
        split=first.split,
        length=plural(len(first.history), "epoch"),
        rows=tuple(sorted(made, key=lambda row: row.score.mean, reverse=first.maximise)),
        agreement=_agreement(made, summary, first.maximise),
    )


def _scores(records: Mapping[int, RetrainRecord]) -> dict[int, float]:
    return {seed: record.score for seed, record in records.items()}


def _row(
    architecture: Architecture,
    records: Mapping[int, RetrainRecord],
    difference: Difference | None,
    view: StudyView,
    summary: Summary,
    row: FrontRow | None,
) -> RetrainedRow:
    ordered = tuple(records[seed] for seed in sorted(records))
    first = ordered[0]
    measured = _measured(summary).get(architecture.hash)
    names = list(dict.fromkeys(name for record in ordered for name in record.metrics))
    return RetrainedRow(
        name=measured.name if measured else architecture.id,
        id=architecture.id,
        retrained_id=first.built_id,
        is_host=view.is_bare_host(architecture),
        is_baseline=measured is not None and measured.role == "baseline",
        records=ordered,
        score=t_interval([record.score for record in ordered]),
        metrics={name: t_interval([r.metrics[name] for r in ordered if name in r.metrics]) for name in names},
        difference=difference,
        proxy=interval_of(measured, summary.quality.value) if measured else None,
        proxy_difference=row.quality_difference if row else None,
        params=first.params,
        macs=first.macs,
    )


def _measured(summary: Summary) -> dict[str, Measured]:
    return {item.architecture.hash: item for item in summary.items}


def _agreement(rows: Sequence[RetrainedRow], summary: Summary, maximise: bool) -> Agreement | None:
    items = {item.architecture.id: item for item in summary.items}
    both = [(row, items[row.id]) for row in rows if row.id in items and row.proxy is not None]
    if len(both) < _FEWEST_TO_RANK:
        return None
    from scipy.stats import kendalltau  # slow to import, for what most studies do not have

    value, sign = summary.quality.value, 1 if maximise else -1
    pairs = list(combinations(both, 2))
    told = correct_for_many(
        [
            paired_difference(
                a.by_seed(value), b.by_seed(value), step=summary.quality.step(a.records[0]), looks=a.looks
            )
            for (_, a), (_, b) in pairs
        ]
    )
    short = [row.proxy.mean for row, _ in both if row.proxy]
    full = [sign * row.score.mean for row, _ in both]
    same = [(short[a] - short[b]) * (full[a] - full[b]) > 0 for a, b in combinations(range(len(both)), 2)]
    found = kendalltau(short, full)
    is_told = [difference.verdict != "not distinguishable" for difference in told]
    return Agreement(
        num=len(both),
        num_pairs=len(pairs),
        num_same=sum(same),
        num_told_apart=sum(is_told),
        num_told_apart_same=sum(s and t for s, t in zip(same, is_told, strict=True)),
        tau=float(found.statistic),
        p_value=float(found.pvalue),
    )
