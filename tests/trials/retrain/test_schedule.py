"""The learning rate of each step."""

import math
from itertools import pairwise

import pytest

from search_spaces import InputError
from search_spaces.yaml_files import parse_yaml, validate
from trials.retrain.schedule import ScheduleConfig, lr_share

STEPS, EPOCHS = 10, 4


def shares(text: str, unit: float = STEPS) -> list[float]:
    schedule = validate(ScheduleConfig, parse_yaml(text))
    return [lr_share(step, STEPS * EPOCHS, unit, schedule) for step in range(STEPS * EPOCHS)]


def test_a_warm_up_rises_by_the_same_at_each_step_and_the_cosine_starts_where_it_ends() -> None:
    rates = shares("{kind: cosine, warmup: 1, warmup_start: 0.1}")
    rises = [after - before for before, after in pairwise(rates[:10])]
    assert rises == pytest.approx([0.09] * 9)
    assert rates[10] == 1
    assert rates[25] == pytest.approx((1 + math.cos(math.pi * 0.5)) / 2)
    assert rates[-1] == pytest.approx((1 + math.cos(math.pi * 29 / 30)) / 2)


def test_steps_fall_at_the_start_of_their_epochs() -> None:
    assert shares("{kind: step, milestones: [1, 3], gamma: 0.1}") == pytest.approx([1] * 10 + [0.1] * 20 + [0.01] * 10)


def test_milestones_may_be_iterations() -> None:
    rates = shares("{kind: step, milestones: [12], warmup_iterations: 5}", unit=1)
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert (rates[11], rates[12]) == (1, pytest.approx(0.1))


def test_lines_and_polynomials_end_at_their_end() -> None:
    assert shares("{kind: linear}") == pytest.approx([1 - step / 40 for step in range(40)])
    assert shares("{kind: poly, power: 0.9, end: 0.5}")[20] == pytest.approx(0.5 + 0.5 * 0.5**0.9)
    assert set(shares("{kind: constant}")) == {1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: step}", "`milestones` are for `kind: step`, which needs at least one"),
        ("{kind: cosine, milestones: [1]}", "`milestones` are for `kind: step`"),
        ("{kind: step, milestones: [2, 1]}", "`milestones` must ascend"),
        ("{warmup: 1, warmup_iterations: 3}", "give one of `warmup` and `warmup_iterations`"),
    ],
)
def test_settings_without_effect_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shares(text)
