"""Which weights and checkpoints stay in a study's folder."""

from pathlib import Path

import pytest
from toy_search import Toy

from nas.experiment import KeepConfig
from nas.proposals.parameters import Draw
from nas.running.weights import checkpoint_path, drop_checkpoints, drop_unfinished, keep_front, weights_path
from nas.study.ledger import Ledger
from trials.checkpoint import running_path


def study(toy: Toy, folder: Path) -> Ledger:
    """Return a search in which a baseline and a proposal are beaten by another proposal, and one waits."""
    ledger = toy.open(folder, ["accuracy"])
    decoded = [toy.space.decode((i, 0, 0, 0, 0)) for i in range(4)]
    ledger.add(decoded[0], label="host", seed=0, epochs=2)
    for i in (1, 2):
        ledger.propose(decoded[i], Draw((i, 0, 0, 0, 0), {}, {}), seed=0, epochs=2, batch=(0, 2))
    for accuracy in (0.1, 0.9, 0.2):
        proposal = toy.take(ledger)
        ledger.record(proposal.number, toy.record(proposal, accuracy=accuracy))
        for path in (
            weights_path(folder, proposal.architecture, 0, 2),
            checkpoint_path(folder, proposal.architecture, 0),
        ):
            path.parent.mkdir(exist_ok=True)
            path.touch()
    ledger.tell(in_order=True)
    ledger.add(decoded[3], label="waits", seed=0, epochs=2)
    waiting = checkpoint_path(folder, decoded[3], 0)
    for path in (waiting, running_path(waiting), waiting.with_name(f".{waiting.name}-x1_y2z3")):
        path.touch()
    return ledger


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (KeepConfig(), {0, 1}),
        (KeepConfig(weights="all"), {0, 1, 2}),
        (KeepConfig(weights="none"), set()),
    ],
)
def test_the_weights_that_are_asked_for_stay(toy: Toy, tmp_path: Path, keep: KeepConfig, expected: set[int]) -> None:
    ledger = study(toy, tmp_path)
    keep_front(tmp_path, ledger, keep)
    trials = ledger.trials()
    paths = {i: weights_path(tmp_path, ledger.architecture(trials[i]), 0, 2) for i in range(3)}
    assert {i for i, path in paths.items() if path.exists()} == expected


@pytest.mark.parametrize("keep", [KeepConfig(), KeepConfig(checkpoints="all")])
def test_checkpoints_of_trials_that_are_over_go_unless_all_are_asked_for(
    toy: Toy, tmp_path: Path, keep: KeepConfig
) -> None:
    ledger = study(toy, tmp_path)
    left_behind = checkpoint_path(tmp_path, ledger.architecture(ledger.trials()[0]), 0)
    unfinished = left_behind.with_name(f".{left_behind.name}-a1_b2c3d")  # by a worker that was killed
    unfinished.touch()
    before = set((tmp_path / "checkpoints").iterdir())
    over = {checkpoint_path(tmp_path, ledger.architecture(trial), 0) for trial in ledger.trials()[:3]}
    drop_checkpoints(tmp_path, ledger, keep)
    gone = {unfinished} if keep.checkpoints == "all" else {unfinished, *over}
    assert before - set((tmp_path / "checkpoints").iterdir()) == gone
    assert len(before - gone) >= 3  # the waiting trial's two, and what it is just writing


def test_what_was_being_written_when_a_process_was_killed_goes(tmp_path: Path) -> None:
    kept = ["driver.lock", ".driver.lock-x1", "weights/a-seed0-epochs2.safetensors", "checkpoints/a-seed0.pt"]
    left = ["weights/.a-seed0-epochs2.safetensors-x1_y", "checkpoints/.a-seed0.pt-x1", ".nas-token", "..nas-token-x1"]
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    drop_unfinished(tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)
