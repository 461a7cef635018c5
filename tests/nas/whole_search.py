"""What a search must have come to, whatever happened on the way."""

from reports import StudyView


def found(view: StudyView) -> list[tuple[object, ...]]:
    """Return what was measured, to the bit; confirmations may come in any order."""
    search = [(t.number, t.label, t.architecture.hash, t.record and t.record.loss) for t in view.search]
    confirm = [(t.architecture.hash, t.record and (t.record.seed, t.record.test_loss)) for t in view.confirm]
    return [*search, *sorted(confirm, key=str)]


def check_whole(view: StudyView) -> None:
    """Check that nothing is lost, nothing was run twice, and the budget is met exactly."""
    for trials in (view.search, view.confirm):
        assert all(trial.state == "complete" for trial in trials)
        keys = [(t.architecture.hash, t.record.seed, t.record.epochs) for t in trials if t.record]
        assert len(keys) == len(set(keys)) == len(trials)
    assert sum(trial.role == "proposal" for trial in view.search) == 10
