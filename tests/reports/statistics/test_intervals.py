import math
from dataclasses import replace

import pytest

from reports import correct_for_many, paired_difference, t_interval
from reports.statistics.intervals import Difference, binomial_error


def t_quantile_2(p: float) -> float:
    """The quantile of Student's t with 2 degrees of freedom, which has a closed form."""
    return (2 * p - 1) / math.sqrt(2 * p * (1 - p))


def p_value_2(t: float) -> float:
    """Two-sided, with 2 degrees of freedom."""
    return 1 - abs(t) / math.sqrt(2 + t * t)


def test_the_interval_of_three_values_follows_from_the_closed_form() -> None:
    found = t_interval([1.0, 2.0, 3.0])  # standard deviation 1
    half = t_quantile_2(0.975) / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.half_width == pytest.approx(half)


def test_one_value_has_a_mean_and_no_bounds() -> None:
    found = t_interval([0.5])
    assert (found.mean, found.low, found.high, found.half_width) == (0.5, None, None, None)


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_an_interval_needs_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite values"):
        t_interval(values)


def test_a_difference_is_paired_by_seed() -> None:
    found = paired_difference({1: 5.0, 2: 8.0, 3: 2.0, 9: 0.0}, {3: 1.0, 2: 6.0, 1: 2.0})
    half = t_quantile_2(0.975) / math.sqrt(3)  # differences 3, 2, 1
    assert found.interval is not None
    assert (found.mean, found.n) == (2.0, 3)
    assert found.interval.low == pytest.approx(2 - half)
    assert found.p_value == pytest.approx(p_value_2(2 * math.sqrt(3)))
    assert found.verdict == "not distinguishable"


@pytest.mark.parametrize(("sign", "maximise", "word"), [(1, True, "better"), (-1, True, "worse"), (1, False, "worse")])
def test_the_verdict_says_better_only_in_the_right_direction(sign: int, maximise: bool, word: str) -> None:
    ours = {seed: sign * (1 + seed / 100) for seed in range(3)}
    assert paired_difference(ours, dict.fromkeys(range(3), 0.0), maximise=maximise).verdict == word


@pytest.mark.parametrize(("ours", "n", "reason"), [({1: 2.0}, 1, "one training each"), ({7: 2.0}, 0, "no seed")])
def test_fewer_than_two_pairs_distinguish_nothing(ours: dict[int, float], n: int, reason: str) -> None:
    found = paired_difference(ours, {1: 1.0, 2: 1.0})
    assert (found.n, found.interval, found.verdict) == (n, None, "not distinguishable")
    assert reason in found.reason


def test_a_seed_without_a_finite_value_is_left_out() -> None:
    assert paired_difference({1: 1.0, 2: math.nan, 3: 1.0}, {1: 0.0, 2: 0.0, 3: 0.5}).n == 2


def test_equal_networks_are_not_distinguishable() -> None:
    found = paired_difference({1: 0.9, 2: 0.8}, {1: 0.9, 2: 0.8})
    assert (found.mean, found.p_value, found.verdict) == (0.0, 1.0, "not distinguishable")


def test_the_same_small_gain_of_images_in_every_seed_is_not_yet_certain() -> None:
    host = dict.fromkeys(range(3), 0.9)
    ours = dict.fromkeys(range(3), 0.9 + 1 / 360)
    assert paired_difference(ours, host).verdict == "better"  # no spread at all looks certain
    counted = paired_difference(ours, host, step=1 / 360)
    # One image of 360 has a standard deviation of at least one image.
    half = t_quantile_2(0.975) * (1 / 360) / math.sqrt(3)
    assert counted.interval is not None
    assert counted.interval.half_width == pytest.approx(half)
    assert counted.verdict == "not distinguishable"


def with_p_value(p_value: float | None) -> Difference:
    verdict = "better" if p_value is not None and p_value < 0.05 else "not distinguishable"
    return Difference(0.1, None, 3, p_value, verdict)


def test_holm_stops_at_the_first_p_value_that_is_too_large() -> None:
    # Sorted: 0.01 < 0.05/3 holds; 0.03 > 0.05/2 stops; 0.04 < 0.05/1 would hold alone, but comes after the stop.
    found = correct_for_many([with_p_value(0.04), with_p_value(0.01), with_p_value(0.03), with_p_value(None)])
    assert [d.verdict for d in found] == ["not distinguishable", "better", "not distinguishable", "not distinguishable"]
    assert found[0].reason == "better by itself, but not among 3 comparisons"
    assert found[1].reason == found[3].reason == ""


def test_a_single_comparison_needs_no_correction() -> None:
    only = with_p_value(0.049)
    assert correct_for_many([only]) == [only]
    assert correct_for_many([]) == []


def test_correction_keeps_the_numbers() -> None:
    given = [with_p_value(0.04), with_p_value(0.04)]
    assert [replace(d, verdict="better", reason="") for d in correct_for_many(given)] == given


def test_the_binomial_error_of_nine_tenths_of_a_hundred_images_is_three_images() -> None:
    assert binomial_error(0.9, 100) == pytest.approx(0.03)
    with pytest.raises(ValueError, match="share in"):
        binomial_error(1.2, 100)
