"""Reports of confirmations whose number of seeds was decided while they were seen."""

import pytest
from scipy.stats import t as student
from tiny_studies import BAM, BARE, SE, searched, study, trial

from reports import StudyView, TrialView, front_rows
from reports.front.summary import summarise_confirm
from reports.page import make_report, render_page
from reports.statistics.sequential import Looks

RACE = {"data": {"source": "digits"}, "confirm": {"seeds": 2, "max_seeds": 5, "epochs": 24}}
EASY = {1: 0.0, 2: 0.001, 3: 0.03, 4: 0.031}
"""What a seed adds to all: the later ones are easier."""


def raced() -> tuple[TrialView, ...]:
    """Return SE, 4 points over the host, with four seeds as the host, and BAM with two, 1 point over the host."""
    levels = ((BARE, 0.90, 4, "host"), (SE, 0.94, 4, None), (BAM, 0.91, 2, "bam everywhere"))
    return tuple(
        trial(10 * i + seed, architecture, level + EASY[seed] + 0.001 * ((seed + i) % 2), label=label,
              seed=seed, epochs=24)
        for i, (architecture, level, seeds, label) in enumerate(levels)
        for seed in range(1, seeds + 1)
    )  # fmt: skip


def race(**changes: object) -> StudyView:
    return study(searched(), raced(), experiment={**RACE, **changes})


def test_a_race_is_judged_by_its_looks_and_a_fixed_plan_is_not() -> None:
    assert summarise_confirm(race()).looks == Looks(2, 5)
    fixed = race(confirm={"seeds": 4, "epochs": 24})
    assert summarise_confirm(fixed).looks is None


def test_a_race_that_was_made_plain_afterwards_is_still_judged_as_one() -> None:
    assert summarise_confirm(race(confirm={"seeds": 2, "epochs": 24})).looks == Looks(2, 4)


def test_the_p_values_of_a_race_count_the_looks() -> None:
    plan = {"seeds": 4, "max_seeds": None, "epochs": 24}
    once, often = ({r.name: r for r in front_rows(view)}[SE.id] for view in (race(confirm=plan), race()))
    assert once.accuracy_difference is not None
    assert often.accuracy_difference is not None
    assert often.accuracy_difference.p_value == pytest.approx(
        Looks(2, 5).p_value(4, once.accuracy_difference.p_value or 0)
    )


def test_intervals_of_a_race_hold_over_all_looks_and_stand_around_the_adjusted_mean() -> None:
    bam = {row.name: row for row in front_rows(race())}["bam everywhere"]
    assert bam.accuracy is not None
    # Two values that differ by the seed's 0.001 and the alternating 0.001, so by 0 or 0.002: with two values,
    # the standard error is half their difference.
    values = [t.record.accuracy for t in raced() if t.label == "bam everywhere" and t.record]
    assert None not in values
    error = abs((values[0] or 0) - (values[1] or 0)) / 2
    quantile = student.ppf(1 - Looks(2, 5).nominal_level(2, 0.05) / 2, 1)
    assert bam.accuracy.half_width == pytest.approx(quantile * error)
    # On the seeds that it has, BAM is as far over the other two as ever; it would gain as they do from the easier ones.
    others = [[t.record.accuracy for t in raced() if t.architecture == a and t.record] for a in (BARE, SE)]
    gains = [sum(v or 0 for v in row) / 4 - sum(v or 0 for v in row[:2]) / 2 for row in others]
    assert bam.accuracy.mean == pytest.approx(sum(v or 0 for v in values) / 2 + sum(gains) / 2)


def test_easier_seeds_flatter_nobody() -> None:
    # BAM's plain mean is 0.911 and the host's 0.916, which has two easier seeds; on the seeds of both BAM is better.
    view = race()
    means = {item.name: item.values[0] for item in summarise_confirm(view).items}
    plain = {item.name: item.mean(lambda r: r.accuracy) for item in summarise_confirm(view).items}
    assert (plain["bam everywhere"] or 0) < (plain["host"] or 0)
    assert means["bam everywhere"] > means["host"]


def test_the_page_says_how_many_seeds_and_what_follows() -> None:
    page = render_page(make_report(race()))
    assert "with 2 to 4 seeds each" in page
    assert "decided while they were seen (2 to 5, n below each mean)" in page
    assert "fewer seeds than the others" not in page
