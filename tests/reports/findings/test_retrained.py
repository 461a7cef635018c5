"""Full trainings of a study's architectures, held against what the study measured."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from tiny_studies import BAM, BARE, ECA, SE, confirmed, searched, study

from reports.findings.retrained import RetrainedGroup, retrained_of
from reports.front.summary import best_summary
from reports.front.tables import front_rows
from reports.page import make_report, render_page
from reports.view import Retraining, StudyView
from search_spaces import Architecture
from trials.retrain.record import RetrainEpoch, RetrainRecord


def retrained(architecture: Architecture, top1: float, seed: int = 0, **changes: Any) -> Retraining:
    epoch = RetrainEpoch(1, 10, 1.0, 0.1, {"top1": top1, "loss": 1 - top1}, 100.0, 0.1, 1.0)
    record = RetrainRecord(
        architecture=architecture.to_dict(), architecture_id=architecture.id, architecture_hash=architecture.hash,
        built_id="0123456789", recipe_name="imagenet-ba", recipe={}, recipe_hash="r", task="classification", seed=seed,
        metric="top1", maximise=True, split="val", metrics={"top1": top1, "loss": 1 - top1}, history=(epoch,), params=7,
        macs=8, num_train=100, data_sha256="d", processes=1, accumulation=1, part_size=10, device="one CPU",
        precision="fp32", compiling="no", versions={}, images_per_s=100.0, waiting_share=0.1, wall_s=1.0, runs=1,
        warnings=(), started_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return Retraining(architecture, replace(record, **changes))


def groups_of(view: StudyView) -> tuple[RetrainedGroup, ...]:
    return retrained_of(view, best_summary(view), front_rows(view))


def with_retrained(*retrainings: Retraining) -> StudyView:
    return replace(study(searched(), confirmed()), retrained=retrainings)


def test_trainings_by_other_recipes_images_or_splits_are_never_in_one_table() -> None:
    others: tuple[Mapping[str, Any], ...] = ({"recipe_hash": "s"}, {"data_sha256": "e"}, {"split": "test"})
    view = with_retrained(retrained(BARE, 0.7), *(retrained(BARE, 0.7, **other) for other in others))
    assert [len(group.rows) for group in groups_of(view)] == [1, 1, 1, 1]


def test_rows_are_in_the_order_of_their_scores_with_differences_paired_by_seed() -> None:
    scores = {BARE: (0.70, 0.72), SE: (0.71, 0.75), ECA: (0.69, 0.73)}
    view = with_retrained(*(retrained(a, s, seed) for a, both in scores.items() for seed, s in enumerate(both)))
    (group,) = groups_of(view)
    assert [row.id for row in group.rows] == [SE.id, BARE.id, ECA.id]
    row = group.rows[0]
    assert row.score.mean == pytest.approx((0.71 + 0.75) / 2)
    assert row.difference is not None
    assert row.difference.mean == pytest.approx(((0.71 - 0.70) + (0.75 - 0.72)) / 2)
    assert group.rows[1].is_host
    assert group.rows[1].difference is None


def test_one_training_each_gives_a_difference_without_a_verdict() -> None:
    (group,) = groups_of(with_retrained(retrained(BARE, 0.7), retrained(SE, 0.9)))
    difference = group.rows[0].difference
    assert difference is not None
    assert (difference.interval, difference.verdict) == (None, "not distinguishable")
    assert group.agreement is None  # of two architectures


def test_a_host_that_was_made_wider_is_compared_with_the_bare_one() -> None:
    wider = Architecture.from_dict({"host": {"name": "resnet20", "input": 32, "width": 1.0625}, "placement": {}})
    (group,) = groups_of(with_retrained(retrained(BARE, 0.7), retrained(wider, 0.72)))
    assert group.rows[0].difference is not None
    assert group.rows[0].difference.mean == pytest.approx(0.02)


def test_a_training_again_takes_the_place_of_the_earlier_one() -> None:
    (group,) = groups_of(with_retrained(retrained(SE, 0.5), retrained(SE, 0.6)))
    assert [row.score.mean for row in group.rows] == [0.6]


def test_the_order_of_the_study_is_held_against_that_of_the_full_trainings() -> None:
    full = {BARE: 0.70, ECA: 0.72, SE: 0.71, BAM: 0.75}
    view = with_retrained(*(retrained(a, score) for a, score in full.items()))
    short = {item.architecture: item.adjusted(lambda record: record.accuracy) for item in best_summary(view).items}
    pairs = list(combinations(full, 2))
    same = sum((short[a] - short[b]) * (full[a] - full[b]) > 0 for a, b in pairs)
    agreement = groups_of(view)[0].agreement
    assert agreement is not None
    assert (agreement.num, agreement.num_pairs, agreement.num_same) == (4, 6, same)
    tied = sum(short[a] == short[b] for a, b in pairs)
    assert agreement.tau == pytest.approx((same - (6 - same - tied)) / (6 * (6 - tied)) ** 0.5)
    assert f"Of the 6 pairs of 4 architectures {same} come in the same order" in agreement.in_words
    assert agreement.num_told_apart_same <= agreement.num_told_apart <= 6


def test_the_page_has_a_section_for_it_only_where_something_was_trained() -> None:
    view = with_retrained(retrained(BARE, 0.7), retrained(SE, 0.71, recipe_name="<b>mine</b>"))
    page = render_page(make_report(view))
    assert 'id="retrained"' in page
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "<b>mine</b>" not in page
    assert 'id="retrained"' not in render_page(make_report(study(searched(), confirmed())))
