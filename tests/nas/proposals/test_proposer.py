"""What is proposed: no more than asked for, nothing twice, nothing over a limit, to the end of the space."""

from itertools import product
from pathlib import Path

import pytest
from toy_search import Toy

from nas.proposals.proposer import Proposer
from nas.samplers import SAMPLERS
from nas.study.ledger_trial import state_of
from search_spaces.errors import InputError

EVERY = pytest.mark.parametrize("name", list(SAMPLERS))


@EVERY
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_trials_asked_for_are_trained_and_none_twice(
    toy: Toy, tmp_path: Path, name: str, deterministic: bool
) -> None:
    ledger = toy.drive(tmp_path, toy.plan(name, 30, deterministic=deterministic), workers=3)
    counts = ledger.counts()
    assert counts.complete == 30
    assert counts.running == counts.waiting == 0
    trained = (tmp_path / "trained").read_text().split()
    assert len(trained) == len(set(trained)) == counts.complete + counts.failed + 1  # and the bare host


@EVERY
def test_the_order_in_which_workers_finish_does_not_matter(toy: Toy, tmp_path: Path, name: str) -> None:
    plan = toy.plan(name, 24, seed=5)
    stories = [
        toy.story(toy.drive(tmp_path / str(workers), plan, workers=workers, hurry=workers)) for workers in (1, 2, 5)
    ]
    assert all(story == stories[0] for story in stories)


@EVERY
def test_another_seed_is_another_search(toy: Toy, tmp_path: Path, name: str) -> None:
    stories = [toy.story(toy.drive(tmp_path / str(seed), toy.plan(name, 10, seed=seed))) for seed in (0, 1)]
    assert stories[0] != stories[1]


@EVERY
def test_a_space_is_exhausted_to_its_last_architecture(toy: Toy, tmp_path: Path, name: str) -> None:
    space = toy.tiny_space({"sites": 3})
    # Each of the three stages has three branches: at most one stage can be occupied, with one of 4 options.
    within = [i for i in product(range(5), repeat=3) if sum(index != 0 for index in i) <= 1]
    assert len(within) == 1 + 3 * 4
    plan = toy.plan(name, 1000)
    ledger = toy.drive(tmp_path, plan, space=space)
    proposed = [tuple(t.user_attrs["indices"]) for t in ledger.trials("proposal") if state_of(t) != "refused"]
    assert len(proposed) == len(set(proposed))
    assert {*proposed, (0, 0, 0)} == set(within)  # the bare host is a baseline, and not measured again
    assert Proposer(ledger, space, plan).exhausted


@EVERY
def test_what_breaks_a_limit_is_refused_and_never_trained(toy: Toy, tmp_path: Path, name: str) -> None:
    space = toy.tiny_space({"sites": 3})
    ledger = toy.drive(tmp_path, toy.plan(name, 8), space=space)
    for trial in ledger.trials("proposal"):
        num_sites = 3 * sum(index != 0 for index in trial.user_attrs["indices"])
        if state_of(trial) != "refused":
            assert num_sites <= 3
        elif num_sites > 3:
            assert trial.user_attrs["refused"] == f"limit: sites {num_sites} above 3"
        else:
            assert trial.user_attrs["refused"].startswith("repeats trial ")


def test_redraws_are_bounded_and_the_neighbours_come_after_them(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.proposals.proposer.MOST_REDRAWS", 3)
    ledger = toy.drive(tmp_path, toy.plan("random", 12), space=toy.tiny_space({"sites": 3}))
    in_a_row = longest = 0
    for trial in ledger.trials("proposal"):
        in_a_row = in_a_row + 1 if state_of(trial) == "refused" else 0
        longest = max(longest, in_a_row)
    assert longest == 3


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "tpe"])
def test_a_generation_is_asked_for_as_a_whole_and_the_next_after_its_last_result(
    toy: Toy, tmp_path: Path, name: str
) -> None:
    ledger = toy.open(tmp_path)
    plan = toy.plan(name, 30)
    proposer = Proposer(ledger, toy.space, plan)
    size = SAMPLERS[name].generation(30)
    proposals = []
    while proposal := proposer.next():
        proposals.append(proposal)
    assert len(proposals) == size
    for proposal in reversed(proposals):
        assert proposer.next() is None
        assert not proposer.done
        ledger.record(proposal.number, toy.record(proposal))
        ledger.tell(in_order=True)
    assert proposer.next()


def test_failed_trials_are_made_up_for(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.drive(tmp_path, toy.plan("nsga2", 40))
    assert ledger.counts().failed > 0
    assert ledger.counts().complete == 40


def test_a_raised_number_of_trials_goes_on_with_the_same_generations(toy: Toy, tmp_path: Path) -> None:
    before = toy.story(toy.drive(tmp_path, toy.plan("nsga2", 24)))
    ledger = toy.drive(tmp_path, toy.plan("nsga2", 80))
    assert toy.story(ledger)[: len(before)] == before
    assert ledger.counts().complete == 80
    assert ledger.attributes["generation"] == SAMPLERS["nsga2"].generation(24)


def test_an_unknown_sampler_writes_nothing(toy: Toy, tmp_path: Path) -> None:
    ledger = toy.open(tmp_path)
    with pytest.raises(InputError, match="unknown sampler"):
        Proposer(ledger, toy.space, toy.plan("nsga", 3))
    assert "generation" not in ledger.attributes
