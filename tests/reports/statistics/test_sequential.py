import math

import numpy as np
import pytest
from scipy.stats import t as student

from reports import paired_difference, t_interval
from reports.statistics.sequential import Looks

LOOKS = Looks(3, 6)


def test_the_first_look_spends_its_share_exactly() -> None:
    # Nothing was spent before, so the level is alpha * (3 / 6) ** 2.
    assert LOOKS.nominal_level(3, 0.05) == pytest.approx(0.05 / 4, rel=1e-6)
    assert LOOKS.p_value(3, 0.01) == pytest.approx(0.04, rel=1e-6)


def test_a_single_look_is_the_plain_test() -> None:
    assert Looks(3, 3).nominal_level(3, 0.05) == pytest.approx(0.05)
    assert Looks(3, 3).p_value(3, 0.2) == pytest.approx(0.2)


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_all_looks_together_err_as_often_as_promised(alpha: float) -> None:
    draws = 100_000
    values = np.random.default_rng(0).standard_normal((draws, 6))
    rejected, shares = np.zeros(draws, dtype=bool), []
    for n in range(3, 7):
        scores = np.abs(values[:, :n].mean(axis=1)) / values[:, :n].std(axis=1, ddof=1) * math.sqrt(n)
        rejected |= scores >= student.ppf(1 - LOOKS.nominal_level(n, alpha) / 2, n - 1)
        shares.append(rejected.mean())
    # Five standard errors of a share; the cells of the calculation are far finer.
    within = 5 * math.sqrt(alpha * (1 - alpha) / draws)
    assert shares == pytest.approx([alpha * (n / 6) ** 2 for n in range(3, 7)], abs=within)


@pytest.mark.parametrize("n", range(3, 7))
def test_level_and_p_value_are_inverse_and_grow(n: int) -> None:
    levels = [LOOKS.nominal_level(n, alpha) for alpha in (1e-5, 1e-3, 0.01, 0.05, 0.5)]
    assert levels == sorted(levels)
    assert [LOOKS.p_value(n, level) for level in levels] == pytest.approx([1e-5, 1e-3, 0.01, 0.05, 0.5])


def test_looking_is_never_free() -> None:
    assert all(LOOKS.p_value(n, 0.01) > 0.01 for n in range(3, 7))
    assert LOOKS.p_value(6, 1.0) == 1.0


@pytest.mark.parametrize("n", [2, 7])
def test_what_is_no_look_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} values are no look of 3 to 6"):
        LOOKS.nominal_level(n, 0.05)


def test_looks_start_at_two_values() -> None:
    with pytest.raises(ValueError, match="2 <= first <= last"):
        Looks(1, 3)


def test_a_difference_that_was_looked_at_has_a_wider_interval_and_a_larger_p_value() -> None:
    ours, theirs = {1: 1.0, 2: 1.2, 3: 1.1, 4: 1.3}, dict.fromkeys(range(1, 5), 0.0)
    once, often = paired_difference(ours, theirs), paired_difference(ours, theirs, looks=LOOKS)
    assert once.p_value is not None
    assert often.p_value == LOOKS.p_value(4, once.p_value)
    assert once.interval is not None
    assert often.interval is not None
    # The same spread, with the quantile of the look's own level.
    ratio = student.ppf(1 - LOOKS.nominal_level(4, 0.05) / 2, 3) / student.ppf(0.975, 3)
    assert often.interval.half_width == pytest.approx(once.interval.half_width * ratio)


def test_before_the_first_look_nothing_is_said() -> None:
    found = paired_difference({1: 5.0, 2: 5.1}, {1: 0.0, 2: 0.0}, looks=LOOKS)
    assert (found.n, found.p_value, found.interval) == (2, None, None)
    assert "too few" in found.reason
    assert t_interval([5.0, 5.1], looks=LOOKS).low is None
