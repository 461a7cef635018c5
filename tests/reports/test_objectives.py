import numpy as np
import pytest
from tiny_studies import BARE, record

from reports import OBJECTIVES, to_minimise
from search_spaces import InputError


def test_what_is_maximised_changes_its_sign_and_nothing_else_does() -> None:
    found = to_minimise([(0.9, 100.0), (0.8, 50.0)], ["accuracy", "macs"])
    assert found.tolist() == [[-0.9, 100.0], [-0.8, 50.0]]


def test_no_trials_give_an_array_with_a_column_per_objective() -> None:
    assert to_minimise([], ["loss", "params", "macs"]).shape == (0, 3)


def test_nan_stays_nan() -> None:
    assert np.isnan(to_minimise([(float("nan"),)], ["accuracy"])).all()


def test_an_unknown_objective_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        to_minimise([(0.9,)], ["acuracy"])


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 objectives accuracy, macs"):
        to_minimise([(0.9,)], ["accuracy", "macs"])


def test_every_objective_reads_its_number_from_a_record() -> None:
    measured = record(BARE, 0.75)
    found = {name: objective.value(measured) for name, objective in OBJECTIVES.items()}
    assert found == {
        "accuracy": 0.75,
        "miou": None,
        "loss": 0.25,
        "macs": 100,
        "params": 1000,
        "latency_ms": None,
        "memory_bytes": 2**20,
    }
