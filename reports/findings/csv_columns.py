"""Columns of the tables of findings as CSV: recommended.csv, enrichment.csv, effects.csv and retrained.csv."""

from collections.abc import Callable
from typing import TypeVar

from reports.files.csv_files import Cell, Columns
from reports.findings.enrichment import Enrichment
from reports.findings.importance import Effect
from reports.findings.recommend import Recommendation
from reports.findings.retrained import RetrainedGroup, RetrainedRow
from reports.statistics.intervals import Difference, Interval

Row = TypeVar("Row")


def _over(name: str, read: Callable[[Row], Difference | None]) -> Columns[Row]:
    def part(of: Callable[[Difference], Cell]) -> Callable[[Row], Cell]:
        return lambda each: None if (difference := read(each)) is None else of(difference)

    return {
        name: part(lambda difference: difference.mean),
        f"{name}_low": part(lambda difference: difference.interval.low if difference.interval else None),
        f"{name}_high": part(lambda difference: difference.interval.high if difference.interval else None),
        f"{name}_p_value": part(lambda difference: difference.p_value),
        f"{name}_verdict": part(lambda difference: difference.verdict),
    }


RECOMMENDED_CSV: Columns[Recommendation] = {
    "id": lambda each: each.row.id,
    "label": lambda each: each.row.label,
    "roles": lambda each: "; ".join(each.roles),
    "stage": lambda each: each.row.stage,
    "num_seeds": lambda each: each.row.num_seeds,
    "validation_quality_fraction": lambda each: each.row.quality.mean if each.row.quality else None,
    "validation_quality_low_fraction": lambda each: each.row.quality.low if each.row.quality else None,
    "validation_quality_high_fraction": lambda each: each.row.quality.high if each.row.quality else None,
    "validation_loss_nats": lambda each: each.row.loss.mean if each.row.loss else None,
    "corrected_for_selection": lambda each: each.correction.corrected if each.correction else None,
    "corrected_for_selection_low": lambda each: each.correction.low if each.correction else None,
    "corrected_for_selection_high": lambda each: each.correction.high if each.correction else None,
    "params": lambda each: each.row.params,
    "macs": lambda each: each.row.macs,
    "latency_ms": lambda each: each.row.latency_ms,
    **_over("quality_over_host", lambda each: each.row.quality_difference),
    "best_handmade": lambda each: each.handmade or None,
    **_over("over_best_handmade", lambda each: each.over_handmade),
    "export": lambda each: each.export,
    "retrain": lambda each: each.retrain,
    "placement": lambda each: each.row.architecture.summary(),
}
"""What is corrected for selection, and what is over the best hand-made placement, is accuracy (or mIoU), or log-loss in
nats where that is the study's quality."""

ENRICHMENT_CSV: Columns[Enrichment] = {
    "module": lambda each: each.module,
    "sites": lambda each: each.where,
    "in_front": lambda each: each.in_front,
    "num_front": lambda each: each.num_front,
    "in_others": lambda each: each.elsewhere,
    "num_others": lambda each: each.num_elsewhere,
    "share_in_all_fraction": lambda each: each.share_in_all,
    "share_over_others_fraction": lambda each: each.difference,
    "share_over_others_low_fraction": lambda each: each.interval[0],
    "share_over_others_high_fraction": lambda each: each.interval[1],
}

EFFECTS_CSV: Columns[Effect] = {
    "kind": lambda each: each.kind,
    "module": lambda each: each.module or None,
    "where": lambda each: each.where or None,
    "num_with": lambda each: each.num_with,
    "effect": lambda each: each.mean,
    "effect_low": lambda each: each.low,
    "effect_high": lambda each: each.high,
}
"""Effects on accuracy (or mIoU) as fractions, or on log-loss in nats, at equal cost."""


def _interval(name: str, read: Callable[[Row], Interval | None]) -> Columns[Row]:
    def part(of: Callable[[Interval], Cell]) -> Callable[[Row], Cell]:
        return lambda each: None if (interval := read(each)) is None else of(interval)

    return {
        name: part(lambda interval: interval.mean),
        f"{name}_low": part(lambda interval: interval.low),
        f"{name}_high": part(lambda interval: interval.high),
    }


Retrained = tuple[RetrainedGroup, RetrainedRow]
_STUDY: Columns[Retrained] = {
    **_interval("study_quality_fraction", lambda pair: pair[1].proxy),
    **_over("study_over_host", lambda pair: pair[1].proxy_difference),
}
RETRAINED_CSV: Columns[Retrained] = {
    "recipe": lambda pair: pair[0].recipe,
    "task": lambda pair: pair[0].task,
    "split": lambda pair: pair[0].split,
    "name": lambda pair: pair[1].name,
    "id": lambda pair: pair[1].id,
    "retrained_id": lambda pair: pair[1].retrained_id,
    "num_seeds": lambda pair: len(pair[1].records),
    "metric": lambda pair: pair[0].metric,
    **_interval("score", lambda pair: pair[1].score),
    **_over("score_over_host", lambda pair: pair[1].difference),
    **_STUDY,
    "params": lambda pair: pair[1].params,
    "macs": lambda pair: pair[1].macs,
}
