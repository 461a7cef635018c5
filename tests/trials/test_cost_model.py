"""Predicting from trials whose true law is known."""

import math

import numpy as np
import pytest

from search_spaces import Architecture
from trials.cost_model import COVERAGE, LEAST_FOR_AN_INTERVAL, Features, Law, features_of

HOST_MACS = 40e6


def made_up(num_se: int, num_ba: int, width: float = 1.0) -> Features:
    """Return a host of some width with gates; widths multiply MACs and parameters, and what is written less."""
    modules = {("se", None): num_se, ("se", (8, 8)): num_se, ("ba", None): num_ba, ("ba", (4, 4)): num_ba}
    written = int(6e5 * width * (1 + 0.03 * num_se + 0.08 * num_ba))
    return Features(int(3e5 * width**2), int(HOST_MACS * width**2), written, 10**5, modules)


def true_s(features: Features) -> float:
    """Seconds per image: MACs, element-wise work, and what each module costs besides."""
    own = 2e-6 * features.modules[("se", None)] + 1e-5 * features.modules[("ba", None)]
    return features.macs / 50e9 + features.written / 1e9 + own


def draw(rng: np.random.Generator, num: int, noise: float) -> tuple[list[Features], list[float]]:
    features = [made_up(*rng.integers(0, 10, 2), width=float(rng.choice([0.5, 1.0]))) for _ in range(num)]
    return features, [true_s(each) * math.exp(noise * rng.standard_normal()) for each in features]


def test_nothing_is_predicted_from_nothing() -> None:
    assert Law([], [], lambda f: f.macs).predict(made_up(1, 1)) is None


def test_one_trial_predicts_by_its_scale_alone() -> None:
    law = Law([made_up(3, 0)], [2.0], lambda f: f.macs)
    wide = law.predict(made_up(3, 0, width=2))
    assert wide is not None
    assert wide.value == pytest.approx(2.0 * 2**2)
    assert wide.low is wide.high is None


def test_a_few_trials_stay_close_to_the_mean_per_mac() -> None:
    values = [1.0, 1.1, 0.9]
    law = Law([made_up(0, 0), made_up(1, 0), made_up(0, 1)], values, lambda f: f.macs)
    found = law.predict(made_up(0, 0))
    assert found is not None
    assert min(values) <= found.value <= max(values)


def test_many_trials_predict_what_the_law_says() -> None:
    features, values = draw(np.random.default_rng(0), 150, noise=0.0)
    law = Law(features, values, lambda f: f.macs)
    new, _ = draw(np.random.default_rng(1), 50, noise=0.0)
    errors = [math.log(guess.value / true_s(each)) for each in new if (guess := law.predict(each))]
    spread = np.std(np.log([true_s(each) / each.macs for each in new]))
    assert len(errors) == 50
    assert np.sqrt(np.mean(np.square(errors))) < spread / 4


def test_the_interval_holds_as_often_as_it_says() -> None:
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        features, values = draw(rng, 31, noise=0.1)
        law = Law(features[:-10], values[:-10], lambda f: f.macs)
        for each, value in zip(features[-10:], values[-10:], strict=True):
            found = law.predict(each)
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.value <= found.high
            inside.append(found.low <= value <= found.high)
    # 40 fits of 10 trials each; those of one fit depend on each other, so that the error is larger than binomial.
    assert COVERAGE - 0.06 < np.mean(inside) < 1


@pytest.mark.parametrize(("num", "has_one"), [(LEAST_FOR_AN_INTERVAL - 1, False), (LEAST_FOR_AN_INTERVAL, True)])
def test_too_few_trials_have_no_interval(num: int, has_one: bool) -> None:
    found = Law(*draw(np.random.default_rng(0), num, noise=0.1), lambda f: f.macs).predict(made_up(1, 1))
    assert found is not None
    assert (found.high is not None) == has_one


def test_more_modules_and_a_wider_host_take_longer() -> None:
    law = Law(*draw(np.random.default_rng(0), 60, noise=0.05), lambda f: f.macs)
    by_modules = [guess.value for n in range(10) if (guess := law.predict(made_up(n, n)))]
    by_width = [guess.value for width in (0.5, 0.7, 1.0, 1.4) if (guess := law.predict(made_up(2, 2, width)))]
    assert by_modules == sorted(by_modules)
    assert by_width == sorted(by_width)


def test_a_kind_that_was_never_seen_counts_by_what_it_writes() -> None:
    features, values = draw(np.random.default_rng(0), 60, noise=0.0)
    law = Law(features, values, lambda f: f.macs)
    bare = made_up(0, 0)
    unseen = Features(bare.params, bare.macs, 2 * bare.written, bare.kept, {("new", None): 3})
    known, other = law.predict(bare), law.predict(unseen)
    assert known is not None
    assert other is not None
    assert other.value > known.value


def test_the_order_of_the_trials_changes_no_bit() -> None:
    features, values = draw(np.random.default_rng(0), 25, noise=0.1)
    turned = np.random.default_rng(1).permutation(25)
    other = Law([features[i] for i in turned], [values[i] for i in turned], lambda f: f.macs)
    assert other.predict(made_up(2, 2)) == Law(features, values, lambda f: f.macs).predict(made_up(2, 2))


def test_modules_are_counted_at_their_resolution() -> None:
    placement = {
        "layer1.0/branch": {"module": "se"},
        "layer1.1/branch": {"module": "se"},
        "layer2/end": {"module": "eca"},
    }
    found = features_of(Architecture.from_dict({"host": {"name": "resnet20"}, "placement": placement}))
    assert found.modules == {("se", (32, 32)): 2, ("se", None): 2, ("eca", (16, 16)): 1, ("eca", None): 1}
