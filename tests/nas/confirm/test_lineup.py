"""Who is confirmed: the front with its controls of equal cost, within the budget, also after kills."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from confirmations import config, open_both, run_some, searched, story
from toy_search import Toy

from nas.confirm.confirmations import queue_confirmations, race_of
from nas.confirm.lineup import lineup_of, note_controls
from nas.study.ledger import Ledger

FRONT = [1, 3, 5, 7, 9, 11]


def hashes(search: Ledger, numbers: list[int]) -> list[str]:
    trials = {trial.number: trial.user_attrs["hash"] for trial in search.trials()}
    return [trials[number] for number in numbers]


def test_before_controls_are_chosen_there_are_none(toy: Toy, tmp_path: Path) -> None:
    lineup = lineup_of(*searched(toy, tmp_path), config(top=3, seeds=2).confirm)
    assert lineup.controls == ()
    assert all(each.trial for each in lineup.entrants)


def test_the_knee_and_the_best_come_first(toy: Toy, tmp_path: Path) -> None:
    search, confirm = searched(toy, tmp_path)
    note_controls(search, confirm, config(top=3, seeds=2, max_controls=50), toy.space)
    of = list(dict.fromkeys(each.of for each in lineup_of(search, confirm, config(top=3, seeds=2).confirm).controls))
    # Accuracy and cost grow alike along the front (1, 5, 11), so its ends and its middle are equally good compromises;
    # the first of them counts. 11 is the best.
    assert of == hashes(search, [1, 11, 5])


def test_controls_are_trained_with_all_seeds_and_labelled_as_baselines(toy: Toy, tmp_path: Path) -> None:
    search, confirm = searched(toy, tmp_path)
    plain = config(top=3, seeds=2)
    note_controls(search, confirm, plain, toy.space)
    controls = {each.architecture for each in lineup_of(search, confirm, plain.confirm).controls if each.architecture}
    front = hashes(search, [1, 5, 11])
    controls = {each for each in controls if each.hash not in front}
    assert queue_confirmations(search, confirm, plain)
    queued = confirm.unfinished()
    assert len(queued) == len({(p.architecture.hash, p.seed) for p in queued})
    for control in controls:
        mine = [proposal for proposal in queued if proposal.architecture == control]
        assert [proposal.seed for proposal in mine] == [1, 2]
        assert all(proposal.role == "baseline" and proposal.label for proposal in mine)
    assert len(queued) == 2 * (len(controls) + 3 + 1)


def test_controls_are_chosen_once_for_the_same_front_and_rules(toy: Toy, tmp_path: Path) -> None:
    search, confirm = searched(toy, tmp_path)
    note_controls(search, confirm, config(top=3, seeds=2), toy.space)
    before = lineup_of(search, confirm, config(top=3, seeds=2).confirm)
    note_controls(search, confirm, config(top=3, seeds=5, max_seeds=7), toy.tiny_space())  # would be others there
    assert lineup_of(search, confirm, config(top=3, seeds=2).confirm).controls == before.controls
    note_controls(search, confirm, config(top=3, seeds=2, controls=[]), toy.space)
    assert lineup_of(search, confirm, config(top=3, seeds=2).confirm).controls == ()


def test_a_budget_counts_the_controls_after_the_front_and_says_what_it_leaves_out(toy: Toy, tmp_path: Path) -> None:
    search, confirm = searched(toy, tmp_path)
    # 0.8 of 25 trainings are 10 with 2 seeds each: the host, the six of the front, and three controls.
    race = config(top=12, seeds=2, max_seeds=3, budget=25, max_controls=9)
    note_controls(search, confirm, race, toy.space)
    lineup = lineup_of(search, confirm, race.confirm)
    assert [each.trial.number for each in lineup.entrants[:6] if each.trial] == FRONT
    assert [bool(each.label) for each in lineup.entrants] == [False] * 6 + [True] * 4
    assert lineup.entrants[-1].architecture == toy.bare_host()
    assert {each.reason for each in lineup.controls if each.reason} >= {"left out: `confirm.budget` has no room for it"}
    # With room for more come all controls, then what is close behind the front and is no control already.
    roomy = lineup_of(search, confirm, race.confirm.model_copy(update={"budget": 60}))
    behind = [each.trial.number for each in roomy.entrants if each.trial and each.label is None]
    controls = {each.architecture for each in roomy.controls if each.architecture}
    near = [n for n in (2, 4, 6) if search.architecture(search.trials()[n]) not in controls]
    assert behind == [*FRONT, *near]
    assert not [each.reason for each in roomy.controls if "budget" in each.reason]


@pytest.mark.parametrize("budget", [None, 40])
@pytest.mark.parametrize("objectives", [["accuracy", "macs"], ["accuracy", "memory_bytes"]])
def test_a_race_with_controls_stopped_anywhere_goes_on_from_the_study_alone(
    toy: Toy, tmp_path: Path, budget: int | None, objectives: list[str]
) -> None:
    race = config(top=4, seeds=2, max_seeds=4, budget=budget, max_controls=5)
    search, whole = searched(toy, tmp_path / "whole", objectives)
    note_controls(search, whole, race, toy.space)
    while queue_confirmations(search, whole, race):
        run_some(toy, whole, random.Random(0))
    searched(toy, tmp_path / "stopped", objectives)
    order = random.Random(1)
    for _ in range(60):
        search, stopped = open_both(tmp_path / "stopped", objectives)
        stopped.recover(in_order=False)
        note_controls(search, stopped, race, toy.space)
        if not queue_confirmations(search, stopped, race):
            break
        run_some(toy, stopped, order, most=order.randrange(1, 9))
    assert story(stopped) == story(whole)
    end = race_of(search, stopped, race.confirm, 0)
    assert end.step.train == ()
    assert sum(each.label is not None for each in end.entrants) == 5 + 1


def test_a_control_whose_first_training_fails_is_out_of_the_race(toy: Toy, tmp_path: Path) -> None:
    search, confirm = searched(toy, tmp_path)
    race = config(top=2, seeds=2, max_seeds=4)
    note_controls(search, confirm, race, toy.space)
    queue_confirmations(search, confirm, race)
    control = next(each for each in lineup_of(search, confirm, race.confirm).entrants if each.trial is None)
    failing = next(p for p in confirm.unfinished() if p.architecture == control.architecture and p.seed == 1)
    confirm.record(failing.number, replace(toy.record(failing), status="failed", reason="the loss is not finite"))
    confirm.tell(in_order=False)
    while queue_confirmations(search, confirm, race):
        run_some(toy, confirm, random.Random(0))
    assert sum(t.user_attrs["hash"] == control.architecture.hash for t in confirm.trials()) == 2
