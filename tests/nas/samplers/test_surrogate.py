"""What the site-gene sampler believes: features of placements, and functions drawn from what noisy values allow."""

import numpy as np
import pytest
from toy_search import HOST, Toy

from nas.samplers.features import Features
from nas.samplers.genes import GenePool
from nas.samplers.surrogate import Surrogate
from reports.statistics.regression import Regression
from search_spaces import SearchSpace

CHOICES = [{"at": "*/branch", "per": "stage", "modules": {"none": {}, "eca": {"kernel_size": [3, 5]}}}]


@pytest.fixture(scope="module")
def pool() -> GenePool:
    return GenePool(Toy.make_space(CHOICES))


def test_placements_share_features_by_module_and_by_knobs_and_by_place(pool: GenePool) -> None:
    nothing, first, other_knobs, other_place = Features(pool).of([(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0)])
    assert not nothing.any()
    assert first.sum() == other_knobs.sum() == other_place.sum() == 5
    assert first @ other_knobs == 3  # place, module, place and module
    assert first @ other_place == 2  # module, module with knobs


def test_hosts_share_what_is_known_of_modules_and_places_that_a_host_lacks_count_nothing() -> None:
    hosts = {**HOST, "name": ["resnet20", "resnet32"]}
    choices = [{"at": "*/branch", "modules": {"none": {}, "eca": {}}}]
    space = SearchSpace.from_dict({"host": hosts, "choices": choices})
    num = len(space.decisions)
    lacking = next(number for number in range(1, num) if not space.exists(number, (0,) * num))

    def placed(host: int, *places: int) -> tuple[int, ...]:
        return tuple(host if number == 0 else int(number in places) for number in range(num))

    placements = [placed(0), placed(0, lacking), placed(0, 1), placed(1, 1), placed(1, lacking)]
    bare, silent, shallow, deep, elsewhere = Features(GenePool(space)).of(placements)
    assert silent.tolist() == bare.tolist()
    assert shallow @ deep == 5 + 1  # all of the module's; of the host's, its place alone
    assert shallow @ elsewhere == 2 + 1  # module, module with knobs


def test_exact_sums_are_predicted_exactly() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(2, size=(60, 8)).astype(float)
    weights = rng.normal(size=8)
    predict = Regression(features, 3 + features @ weights).draw(rng)
    others = rng.integers(2, size=(20, 8)).astype(float)
    assert predict(others) == pytest.approx(3 + others @ weights, abs=0.1)


def test_what_was_merely_lucky_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(2, size=(200, 8)).astype(float)
    truth = 0.3 * features[:, 0]
    values = truth + rng.normal(0, 0.4, 200)
    regression = Regression(features, values)
    guessed = np.mean([regression.draw(rng)(features) for _ in range(50)], axis=0)
    assert ((guessed - truth) ** 2).mean() < 0.2 * ((values - truth) ** 2).mean()


def test_draws_differ_where_little_is_known_and_agree_where_much_is() -> None:
    rng = np.random.default_rng(0)
    features = np.zeros((100, 2))
    features[:50, 0] = 1  # the second feature was never seen
    regression = Regression(features, features[:, 0] + rng.normal(0, 0.1, 100))
    drawn = np.array([regression.draw(rng)(np.eye(2)) for _ in range(200)])
    assert drawn[:, 0].std() < 0.1 < drawn[:, 1].std()


@pytest.mark.parametrize("num", [1, 3])
def test_values_that_agree_are_predicted_to_stay(num: int) -> None:
    predict = Regression(np.eye(3)[:num], np.full(num, 2.0)).draw(np.random.default_rng(0))
    assert predict(np.ones((1, 3))).tolist() == [2.0]


def test_a_guess_is_a_function_of_what_was_learnt_and_the_seed(pool: GenePool) -> None:
    placements, points = [(0, 0, 0), (1, 2, 0), (2, 1, 1)], np.array([[0.0, 1], [1, 0], [2, 5]])

    def guessed(surrogate: Surrogate, seed: int) -> list[list[float]]:
        surrogate.learn(placements, points)
        result: list[list[float]] = surrogate.guess(np.random.default_rng(seed))(placements).tolist()
        return result

    kept = Surrogate(pool)
    first = guessed(kept, 0)
    kept.learn(placements[:2], points[:2])
    assert guessed(kept, 0) == guessed(Surrogate(pool), 0) == first
    assert guessed(kept, 1) != first
