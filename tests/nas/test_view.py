"""A study as its report sees it."""

import nas
from nas.study.home import CONFIRM, SEARCH, find_study
from nas.study.ledger import Ledger
from nas.view import open_study, view_of


def test_records_that_are_forgotten_as_they_are_read_make_the_same_view_and_stay_in_the_study(
    finished: nas.Outcome,
) -> None:
    home = find_study(finished.folder)
    storage = home.read()
    ledgers = [Ledger.load(storage, home.optuna_name(name)) for name in (SEARCH, CONFIRM)]

    def holding() -> int:
        return sum("record" in trial.user_attrs for ledger in ledgers for trial in ledger.trials())

    kept, before = view_of(home, *ledgers), holding()
    assert before == len(kept.search) + len(kept.confirm)
    assert view_of(home, *ledgers, forget=True) == kept
    assert holding() == 0
    assert open_study(finished.folder) == kept
