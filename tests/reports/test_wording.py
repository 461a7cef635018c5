import pytest

from reports import paired_difference, t_interval, wording


def test_numbers_read_as_people_write_them() -> None:
    assert wording.percent(0.92314) == "92.31 %"
    assert wording.share(t_interval([0.5])) == "50.00 %"
    assert wording.share(None) == wording.loss(None) == wording.points(None) == "–"
    assert wording.count(272474) == "272,474"
    assert wording.memory(3 * 2**20) == "3 MiB"
    assert wording.plural(1, "seed") == "1 seed"
    assert wording.plural(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("number", "text"), [(999, "999"), (12_345, "12.3 k"), (40_813_184, "40.81 M"), (1.5e9, "1.50 G")]
)
def test_large_amounts_get_a_letter(number: float, text: str) -> None:
    assert wording.amount(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(384, "384"), (2_500_000, "2.5 million"), (515_978_035_200, "516 billion"), (10**22, "1.0 × 10^22")],
)
def test_sizes_of_spaces_get_a_word(number: int, text: str) -> None:
    assert wording.big(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(100, "0 %"), (150, "+50.0 %"), (99.5, "−0.50 %"), (100.02, "+0.020 %"), (100.0001, "< 0.001 %")],
)
def test_costs_are_told_against_the_host(value: float, text: str) -> None:
    assert wording.over_host(value, 100) == text


@pytest.mark.parametrize(("seconds", "text"), [(4.2, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_a_difference_carries_its_sign_and_bounds() -> None:
    assert wording.points(paired_difference({1: 0.91}, {1: 0.92})) == "−1.00"
    found = wording.points(paired_difference({1: 0.91, 2: 0.91}, {1: 0.90, 2: 0.90}))
    assert found == "+1.00 [+1.00, +1.00]"
