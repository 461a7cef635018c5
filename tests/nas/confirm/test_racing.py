"""The race's policy, on hand-made outcomes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from nas.confirm.racing import Entry, Outcome, Rules, Run, Step, next_step
from reports.statistics.intervals import correct_for_many, paired_difference
from reports.statistics.sequential import Looks

NOISE = (0.00, 0.03, -0.02, 0.01, -0.03, 0.02, -0.01, 0.00)
"""Of training k; each entry has it in another order, so that differences vary."""


def outcomes(levels: Sequence[float], seeds: int = 8) -> dict[Run, Outcome]:
    """Return small noise around each entry's level; less is better."""
    return {(i, k): (level + NOISE[(3 * i + k) % 8] + 0.5 * k,) for i, level in enumerate(levels) for k in range(seeds)}


def run(entries: Sequence[Entry], rules: Rules, known: Mapping[Run, Outcome]) -> Step:
    """Return the end of the race; `known` holds everything it may ask for."""
    step = next_step(entries, rules, known)
    assert step.train == ()
    return step


def seeds_of(step: Step, num: int) -> list[int]:
    return [sum(i == entry for i, _ in step.asked) for entry in range(num)]


def test_first_come_the_first_seeds_of_all_seed_by_seed() -> None:
    step = next_step([Entry((1.0,)), Entry((2.0,))], Rules(2, 4), {})
    assert step.train == step.asked == ((0, 0), (1, 0), (0, 1), (1, 1))
    assert step.why is None


def test_only_what_is_missing_is_to_be_trained() -> None:
    known = {(0, 0): (1.0,), (1, 1): (2.0,)}
    assert next_step([Entry((1.0,)), Entry((2.0,))], Rules(2, 4), known).train == ((1, 0), (0, 1))


def test_what_is_clearly_beaten_at_no_lower_cost_is_dropped_and_the_race_ends() -> None:
    entries = [Entry((1.0,)), Entry((2.0,)), Entry((3.0,)), Entry((4.0,))]
    step = run(entries, Rules(3, 8), outcomes([0.0, 5.0, -5.0, 9.0]))
    assert set(step.beaten) == {1, 3}
    assert step.beaten[1] == 0  # the only one that costs no more
    assert step.beaten[3] == 2  # beaten by the most
    assert (step.why, seeds_of(step, 4)) == ("answered", [3, 3, 3, 3])


def test_who_is_beaten_stays_known_while_the_next_round_is_under_way() -> None:
    entries = [Entry((1.0,)), Entry((2.0,)), Entry((3.0,)), Entry((4.0,))]
    known = {run: v for run, v in outcomes([9.0, 5.0, 4.995, 20.0]).items() if run[1] < 3}
    step = next_step(entries, Rules(3, 8), known)
    assert (set(step.train), set(step.beaten), step.why) == ({(1, 3), (2, 3)}, {3}, None)


def test_what_costs_less_is_never_beaten_by_what_costs_more() -> None:
    step = run([Entry((1.0,)), Entry((2.0,)), Entry((3.0,))], Rules(3, 8), outcomes([9.0, 5.0, 0.0]))
    assert (dict(step.beaten), step.why) == ({}, "answered")


def test_without_costs_the_best_beats_all() -> None:
    step = run([Entry(())] * 3, Rules(3, 8), outcomes([9.0, 0.0, 5.0]))
    assert step.beaten == {0: 1, 2: 1}


def test_further_seeds_go_to_the_contest_that_is_open() -> None:
    entries = [Entry((1.0,)), Entry((2.0,)), Entry((3.0,)), Entry((4.0,))]
    step = run(entries, Rules(3, 8), outcomes([9.0, 5.0, 4.995, 20.0]))
    assert seeds_of(step, 4) == [3, 8, 8, 3]
    assert (step.why, step.num_open) == ("seeds", 1)


def test_an_architecture_is_not_at_rest_before_its_own_differences_tell_it_from_its_host() -> None:
    entries = [Entry((1.0,)), Entry((2.0,), host=0), Entry((3.0,), host=0)]
    known = outcomes([9.0, 8.9, 0.0])
    step = run(entries, Rules(3, 8), known)
    assert seeds_of(step, 3)[1] > 3
    shared = [known[1, k][0] - known[0, k][0] for k in range(seeds_of(step, 3)[1])]  # type: ignore[index]
    found = paired_difference(dict(enumerate(shared)), dict.fromkeys(range(8), 0.0), looks=Looks(3, 8))
    assert found.p_value is not None
    assert found.p_value * 2 <= 0.05  # two are compared with the host


def test_a_budget_is_spent_and_never_exceeded() -> None:
    step = run([Entry((float(i),)) for i in range(5)], Rules(2, 8, budget=17), outcomes([0.0] * 5))
    assert (len(step.asked), step.why) == (17, "budget")


def test_a_round_under_a_budget_goes_to_the_closest_contest() -> None:
    entries = [Entry((float(i),)) for i in range(6)]
    known = outcomes([9.0, 8.93, 5.0, 4.8, 1.0, 0.995])
    step = next_step(entries, Rules(3, 8, budget=22), {run: v for run, v in known.items() if run[1] < 3})
    assert {i for i, _ in step.train[:2]} == {4, 5}


def test_what_failed_gets_no_further_seeds_and_stops_nothing() -> None:
    known = outcomes([0.0, 0.0, 0.0]) | {(1, 1): None}
    step = run([Entry((1.0,)), Entry((2.0,)), Entry((3.0,))], Rules(2, 5), known)
    assert seeds_of(step, 3) == [5, 2, 5]


def test_one_training_that_collapsed_hides_no_difference() -> None:
    entries = [Entry((float(i),)) for i in range(6)]
    known = outcomes([0.0, 5.0, -5.0, -10.0, -15.0, -20.0]) | {(5, 2): (500.0,)}
    assert 1 in run(entries, Rules(3, 8), known).beaten


def test_of_two_qualities_both_must_be_beaten() -> None:
    def both(other: float) -> dict[Run, Outcome]:
        first, second = outcomes([0.0, 5.0]), outcomes([0.0, other])
        return {run: (first[run][0], second[run][0]) for run in first}  # type: ignore[index]

    entries = [Entry((1.0,)), Entry((2.0,))]
    assert dict(run(entries, Rules(3, 8), both(-5.0)).beaten) == {}
    assert dict(run(entries, Rules(3, 8), both(5.0)).beaten) == {1: 0}


def test_without_a_quality_or_an_entry_nothing_is_open() -> None:
    known: dict[Run, Outcome] = {(i, k): () for i in range(2) for k in range(2)}
    assert run([Entry((1.0,)), Entry((2.0,))], Rules(2, 5), known).why == "answered"
    assert run([], Rules(2, 5), {}).why == "answered"


@pytest.mark.parametrize("budget", [None, 23])
def test_whatever_finishes_first_the_race_asks_for_the_same(budget: int | None) -> None:
    entries = [Entry((float(i),), None if i == 0 else 0) for i in range(5)]
    everything, rules = outcomes([1.0, 0.95, 0.9, 0.9, 0.5]), Rules(2, 6, budget)
    whole = run(entries, rules, everything)
    rng = np.random.default_rng(0)
    known: dict[Run, Outcome] = {(4, 5): (-99.0,)}  # what was not asked for is not looked at
    while missing := next_step(entries, rules, known).train:
        picked = missing[int(rng.integers(len(missing)))]
        known[picked] = everything[picked]
    assert next_step(entries, rules, known | {(4, 5): everything[4, 5]}) == whole


def test_the_same_network_is_called_better_in_at_most_a_twentieth_of_studies() -> None:
    studies, wrong, entries = 60, 0, [Entry((float(i),), None if i == 0 else 0) for i in range(8)]
    for number in range(studies):
        trainings = np.random.default_rng(number).standard_normal((8, 6))
        step = run(entries, Rules(2, 6), {(i, k): (float(trainings[i, k]),) for i in range(8) for k in range(6)})
        rows = [{k: float(trainings[i, k]) for j, k in step.asked if j == i} for i in range(8)]
        words = correct_for_many([paired_difference(row, rows[0], looks=Looks(2, 6)) for row in rows[1:]])
        wrong += any(word.verdict == "better" for word in words)
    # If the rate is 0.05, so many or more occur with a chance below 1 in 1,000.
    tail, limit = 1.0, 0
    while tail > 1e-3:
        tail -= math.comb(studies, limit) * 0.05**limit * 0.95 ** (studies - limit)
        limit += 1
    assert wrong < limit
