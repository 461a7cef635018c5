import numpy as np
import pytest

from reports.statistics.seed_effects import fit_additive

NAN = np.nan


def test_with_all_seeds_the_means_are_the_plain_ones() -> None:
    table = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 9.0]])
    assert fit_additive(table).means == pytest.approx(table.mean(axis=1))


def test_a_seed_that_moves_all_alike_does_not_flatter_who_has_it() -> None:
    rows, seeds = np.array([[1.0], [2.0], [4.0]]), np.array([[0.0, 10.0, -4.0]])
    table = rows + seeds
    table[0, 2] = table[1, 1] = NAN  # exactly additive, so what is missing is known
    fitted = fit_additive(table)
    assert fitted.means == pytest.approx(rows[:, 0] + seeds.mean())
    assert np.nanmax(np.abs(fitted.rest)) == pytest.approx(0, abs=1e-9)


def test_the_fit_is_the_least_squares_solution() -> None:
    table = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, NAN], [0.0, NAN, 7.0]])
    known = np.argwhere(np.isfinite(table))
    design = np.zeros((len(known), 6))
    for number, (row, column) in enumerate(known):
        design[number, [row, 3 + column]] = 1
    solution = np.linalg.lstsq(design, table[np.isfinite(table)], rcond=None)[0]
    assert fit_additive(table).means == pytest.approx(solution[:3] + solution[3:].mean())


def test_a_row_without_values_has_no_mean() -> None:
    fitted = fit_additive(np.array([[1.0, 2.0], [NAN, NAN]]))
    assert fitted.means[0] == pytest.approx(1.5)
    assert np.isnan(fitted.means[1])
