import numpy as np
import pytest
from simulated_studies import REST_SD, SEED_SD, confirmation, placements
from tiny_studies import confirmed, searched, study

from reports.findings.replicates import compare_with_itself, spread_of
from reports.front.summary import summarise_confirm


def test_what_seeds_do_to_all_alike_is_told_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    found = spread_of(confirmation(placements(12), np.full(12, 0.9), 200, rng))
    assert found is not None
    assert found.rest.value == pytest.approx(REST_SD, rel=0.1)
    assert found.between_seeds.value == pytest.approx(np.hypot(SEED_SD, REST_SD), rel=0.15)
    assert found.rest.low < found.rest.value < found.rest.high


def test_the_intervals_of_spreads_cover() -> None:
    rng = np.random.default_rng(0)
    inside = {"rest": 0, "between": 0}
    for _ in range(200):
        found = spread_of(confirmation(placements(10), np.full(10, 0.9), 4, rng))
        assert found is not None
        inside["rest"] += found.rest.low <= REST_SD <= found.rest.high
        inside["between"] += found.between_seeds.low <= np.hypot(SEED_SD, REST_SD) <= found.between_seeds.high
    assert min(inside.values()) >= 200 * (0.95 - 3 * np.sqrt(0.95 * 0.05 / 200))


def test_networks_compared_with_themselves_differ_at_the_nominal_rate_at_most() -> None:
    rng = np.random.default_rng(0)
    found = [compare_with_itself(confirmation(placements(10), np.full(10, 0.9), 8, rng)) for _ in range(15)]
    assert np.mean([each.found for each in found if each]) <= 0.065
    assert all(each and each.num_seeds == 4 for each in found)


def test_three_seeds_are_too_few_for_halves_and_one_architecture_for_a_spread() -> None:
    confirmation_of_three = summarise_confirm(study(searched(), confirmed()))
    assert compare_with_itself(confirmation_of_three) is None
    assert spread_of(summarise_confirm(study(searched(), confirmed()[:3]))) is None
    assert spread_of(summarise_confirm(study())) is None


def test_seeds_that_never_matter_have_no_spread() -> None:
    found = spread_of(confirmation(placements(5), np.linspace(0.8, 0.9, 5), 3, _Still()))
    assert found is not None
    assert found.rest.value == pytest.approx(0.0, abs=1e-12)


class _Still:
    """Draws no noise."""

    def normal(self, _mean: float, _sd: float, size: object) -> np.ndarray:
        return np.zeros(size)  # type: ignore[call-overload, no-any-return]
