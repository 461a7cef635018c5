import numpy as np
import pytest
from simulated_studies import confirmation, placements
from tiny_studies import BARE, SE, confirmed, searched, study, trial

from reports.findings.winners_curse import correct_best, noise_of, shrink
from reports.front.summary import summarise_confirm, summarise_search


def test_what_is_expected_lies_between_the_value_and_the_mean_of_all() -> None:
    values = np.array([0.90, 0.91, 0.925, 0.95])
    found = shrink(values, np.full(4, 0.02))
    assert (np.abs(found.means - values.mean()) < np.abs(values - values.mean())).all()
    assert np.argsort(found.means).tolist() == [0, 1, 2, 3]


def test_exact_values_and_equal_values_stay_as_they_are() -> None:
    values = np.array([0.90, 0.91, 0.92, 0.95])
    assert shrink(values, np.zeros(4)).means == pytest.approx(values, abs=1e-6)
    assert shrink(np.full(4, 0.9), np.full(4, 0.01)).means == pytest.approx(np.full(4, 0.9))


def test_noise_is_what_seeds_do_not_do_to_all_alike() -> None:
    # Seeds move all by the same amounts, but for one training that is 0.03 off.
    table = {BARE: (0.90, 0.91, 0.92), SE: (0.93, 0.94, 0.98)}
    trials = [trial(s, a, v, seed=s, epochs=24) for a, values in table.items() for s, v in enumerate(values)]
    noise = noise_of(summarise_confirm(study(searched(), trials)))
    assert noise is not None
    rows = np.array(list(table.values()))
    rest = rows - rows.mean(axis=1, keepdims=True) - rows.mean(axis=0) + rows.mean()
    assert noise.degrees == 2
    assert noise.sd == pytest.approx(np.sqrt((rest**2).sum() / 2))


def test_few_architectures_and_single_seeds_without_images_say_nothing() -> None:
    assert correct_best(summarise_search(study(searched()[:3]))) is None
    assert correct_best(summarise_search(study())) is None
    assert noise_of(summarise_search(study(searched()))) is None


def test_of_single_trainings_only_the_number_of_images_is_known() -> None:
    found = correct_best(summarise_search(study(searched())))
    assert found is not None
    assert found.noise.degrees == 0
    assert found.item.architecture == SE
    assert found.corrected < found.found


def test_the_correction_takes_away_most_of_the_luck_that_the_plain_best_has() -> None:
    rng = np.random.default_rng(0)
    plain, corrected, covered = [], [], []
    for _ in range(150):
        truth = 0.93 + rng.normal(0, 0.002, 12)
        summary = confirmation(placements(12), truth, 3, rng)
        best = correct_best(summary)
        assert best is not None
        true = truth[summary.items.index(best.item)]
        plain.append(best.found - true)
        corrected.append(best.corrected - true)
        covered.append(best.low <= true <= best.high)
    error = np.std(corrected) / np.sqrt(150)
    assert np.mean(plain) > 4 * np.std(plain) / np.sqrt(150)
    assert abs(np.mean(corrected)) < 3 * error
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150)


def test_the_confirmed_best_of_a_study_is_corrected_downward() -> None:
    found = correct_best(summarise_confirm(study(searched(), confirmed())))
    assert found is not None
    assert found.item.architecture == SE
    assert found.low < found.corrected < found.found
    assert found.luck == pytest.approx(found.found - found.corrected)
