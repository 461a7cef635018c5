"""Drivers killed at any write go on as if nothing had happened."""

import os
import random
import signal
from pathlib import Path

import pytest
from toy_search import Toy, fork

from nas.proposals.proposer import SearchPlan
from nas.samplers import SAMPLERS
from nas.study.ledger import Ledger


def drive_until_killed(toy: Toy, folder: Path, plan: SearchPlan, *, write: int, torn: bool, hurry: int) -> bool:
    """Drive the search in a process that is killed at its `write`th write, or after half of it if `torn`.

    Return whether it came to its end before that.
    """
    child = fork()
    if not child:
        num_writes = 0

        def sync(descriptor: int) -> None:
            nonlocal num_writes
            num_writes += 1
            if num_writes == write:
                if torn:
                    os.truncate(descriptor, os.fstat(descriptor).st_size - 20)
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = sync
        try:
            toy.drive(folder, plan, workers=3, hurry=hurry)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "the driver raised"
    return status == 0


def results(ledger: Ledger) -> dict[str, object]:
    return {t.user_attrs["hash"]: t.values for t in ledger.trials() if t.state.is_finished() and "hash" in t.user_attrs}


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_killed_many_times_is_the_search_that_was_not(toy: Toy, tmp_path: Path, name: str, seed: int) -> None:
    plan = toy.plan(name, 20, seed=seed)
    whole = toy.drive(tmp_path / "whole", plan)
    moments = random.Random(seed)
    kept: dict[str, object] = {}
    ended, num_kills = False, 0
    while not ended:
        write, torn = moments.randrange(1, 50), moments.random() < 0.5
        ended = drive_until_killed(toy, tmp_path / "killed", plan, write=write, torn=torn, hurry=num_kills)
        num_kills += not ended
        if (tmp_path / "killed" / "journal.log").exists():
            now = results(toy.open(tmp_path / "killed"))
            assert kept.items() <= now.items()
            kept = now
    assert num_kills >= 3
    ledger = toy.open(tmp_path / "killed")
    assert toy.story(ledger) == toy.story(whole)
    assert ledger.counts().complete == 20
    assert results(ledger) == results(whole)


def test_no_result_that_was_stored_is_trained_again(toy: Toy, tmp_path: Path) -> None:
    plan = toy.plan("nsga2", 20)
    moments = random.Random(7)
    stored: set[str] = set()
    num_rounds, ended = 0, False
    while not ended:
        (tmp_path / "trained").write_text("")
        ended = drive_until_killed(toy, tmp_path, plan, write=moments.randrange(10, 40), torn=False, hurry=num_rounds)
        assert not stored & set((tmp_path / "trained").read_text().split())
        stored = {t.user_attrs["hash"] for t in toy.open(tmp_path).trials() if "record" in t.user_attrs}
        num_rounds += 1
    assert num_rounds > 3


@pytest.mark.parametrize("name", ["nsga2", "random"])
def test_kills_between_rungs_change_nothing(toy: Toy, tmp_path: Path, name: str) -> None:
    plan = toy.plan(name, 16, rungs=(1, 3))
    whole = toy.drive(tmp_path / "whole", plan)
    moments, num_kills = random.Random(11), 0
    while not drive_until_killed(
        toy, tmp_path / "killed", plan, write=moments.randrange(1, 40), torn=moments.random() < 0.5, hurry=num_kills
    ):
        num_kills += 1
    assert num_kills >= 3
    assert toy.story(toy.open(tmp_path / "killed")) == toy.story(whole)


def test_a_search_that_never_waits_meets_its_budget_after_kills_too(toy: Toy, tmp_path: Path) -> None:
    plan = toy.plan("nsga2", 20, deterministic=False)
    moments = random.Random(3)
    while not drive_until_killed(toy, tmp_path, plan, write=moments.randrange(1, 40), torn=True, hurry=1):
        pass
    ledger = toy.open(tmp_path)
    assert ledger.counts().complete == 20
    hashes = [t.user_attrs["hash"] for t in ledger.trials() if "hash" in t.user_attrs]
    assert len(hashes) == len(set(hashes))
