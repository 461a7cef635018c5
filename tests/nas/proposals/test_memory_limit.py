"""A limit on memory: what is refused, the same whatever finishes first and however often a search is killed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_search import Toy

import nas
from nas.proposals.memory_limit import MemoryLimit
from nas.proposals.proposer import Proposer, SearchPlan
from nas.running.progress import Watcher
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal, state_of
from search_spaces import Architecture, SearchSpace
from search_spaces.activations import measure_activations
from search_spaces.errors import InputError
from trials import TrainConfig
from trials.record import EpochResult, TrialRecord

TRAIN = TrainConfig(epochs=2, batch_size=8, lr=0.1, warmup=0)
LIMIT = 2.1e8


def true_memory(architecture: Architecture) -> int:
    return 10**8 + 2000 * measure_activations(architecture).written


def measured(proposal: Proposal) -> TrialRecord:
    record = Toy.record(proposal)
    history = tuple(EpochResult(n, 1.0, 0.5, 1.0, 0.1, 1.0) for n in (1, 2))
    return replace(record, history=history, memory_bytes=true_memory(proposal.architecture), num_train=10)


@pytest.fixture
def with_memory(toy: Toy) -> Toy:
    class Remembers(Toy):
        @staticmethod
        def record(proposal: Proposal, *, failed: bool = False, accuracy: float | None = None) -> TrialRecord:
            assert accuracy is None
            return replace(measured(proposal), status="failed", reason="a test") if failed else measured(proposal)

    return Remembers(toy.space)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Make every proposer have a limit of its own."""

    def limit(limit_bytes: float) -> None:
        def make(ledger: Ledger, space: SearchSpace, plan: SearchPlan) -> Proposer:
            return Proposer(ledger, space, plan, MemoryLimit(limit_bytes, TRAIN, 4))

        monkeypatch.setattr("toy_search.Proposer", make)

    return limit


def refused_for_memory(ledger: Ledger) -> list[int]:
    return [t.number for t in ledger.trials("proposal") if t.user_attrs.get("refused", "").startswith("memory limit")]


def batches(ledger: Ledger) -> list[tuple[int, int]]:
    """Return of each proposal that was trained the number of its batch and its true memory."""
    found = [t for t in ledger.trials("proposal") if state_of(t) != "refused"]
    return [(t.user_attrs["batch"][0], true_memory(ledger.architecture(t))) for t in found]


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_what_is_expected_to_need_too_much_is_not_trained(
    with_memory: Toy, limited: Callable[[float], None], tmp_path: Path, name: str
) -> None:
    limited(LIMIT)
    ledger = with_memory.drive(tmp_path, with_memory.plan(name, 48, seed=1), workers=3)
    assert refused_for_memory(ledger)
    late = [memory for batch, memory in batches(ledger) if batch > 3]
    first = [memory for batch, memory in batches(ledger) if batch == 0]
    assert max(first) > LIMIT  # nothing was known then
    assert late
    # The interval's upper end is right nine times out of ten, and where it errs, then by little.
    assert sum(memory > LIMIT for memory in late) <= len(late) / 10
    assert max(late) < 1.01 * LIMIT


@pytest.mark.parametrize("name", ["nsga2", "tpe", "random"])
def test_the_same_is_refused_whatever_finishes_first(
    with_memory: Toy, limited: Callable[[float], None], tmp_path: Path, name: str
) -> None:
    limited(LIMIT)
    plan = with_memory.plan(name, 32, seed=1)
    stories = [
        with_memory.story(with_memory.drive(tmp_path / str(workers), plan, workers=workers, hurry=workers))
        for workers in (1, 5)
    ]
    assert stories[0] == stories[1]


def test_a_search_whose_driver_dies_after_each_training_refuses_the_same(
    with_memory: Toy, limited: Callable[[float], None], tmp_path: Path
) -> None:
    limited(LIMIT)
    whole = with_memory.drive(tmp_path / "whole", with_memory.plan("tpe", 24, seed=1), workers=2)
    killed = with_memory.open(tmp_path / "killed")
    plan = with_memory.plan("tpe", 24, seed=1)
    killed.recover(in_order=True)
    Proposer(killed, with_memory.space, plan)  # makes the study's facts as the first start does
    killed.add(with_memory.bare_host(), label="host", seed=0, epochs=plan.epochs)
    for _ in range(60):  # a driver that dies after each training
        ledger = with_memory.open(tmp_path / "killed")
        ledger.recover(in_order=True)
        proposal = Proposer(ledger, with_memory.space, plan, MemoryLimit(LIMIT, TRAIN, 4)).next()
        if proposal is None:
            break
        failed = int(proposal.architecture.hash, 16) % 13 == 0
        ledger.record(proposal.number, with_memory.record(proposal, failed=failed))
        ledger.tell(in_order=True)
    assert refused_for_memory(whole)
    assert with_memory.story(with_memory.open(tmp_path / "killed")) == with_memory.story(whole)


def test_samplers_that_do_not_learn_are_held_to_the_lower_bound_only(
    with_memory: Toy, limited: Callable[[float], None], tmp_path: Path
) -> None:
    limited(LIMIT)
    ledger = with_memory.drive(tmp_path, with_memory.plan("random", 32, seed=1))
    assert not refused_for_memory(ledger)
    assert max(memory for _, memory in batches(ledger)) > LIMIT


def test_a_search_that_does_not_wait_uses_what_it_has(
    with_memory: Toy, limited: Callable[[float], None], tmp_path: Path
) -> None:
    limited(LIMIT)
    ledger = with_memory.drive(tmp_path, with_memory.plan("random", 48, seed=1, deterministic=False))
    assert refused_for_memory(ledger)


def test_what_certainly_needs_too_much_is_refused_before_anything_is_known(toy: Toy) -> None:
    limit = MemoryLimit(1000, TRAIN, 4)
    assert str(limit.violation(toy.bare_host())).startswith("memory limit: training takes at least")
    assert MemoryLimit(1e9, TRAIN, 4).violation(toy.bare_host()) is None


def test_a_limit_below_every_bare_host_is_refused_before_anything_is_written(experiments: Path, tmp_path: Path) -> None:
    low = tmp_path / "low.yaml"
    text = (experiments / "nsga2.yaml").read_text()
    low.write_text(text.replace("search: {", "search: {memory_limit: 1000, "))
    with pytest.raises(InputError, match=r"search\.memory_limit leaves nothing, not even a bare host.*at least"):
        nas.search(str(low), tmp_path / "study", device="cpu", watcher=Watcher.quiet())
    assert not (tmp_path / "study").exists()
