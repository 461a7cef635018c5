"""A study as its report sees it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from nas.confirm.confirmations import race_of
from nas.confirm.lineup import lineup_of
from nas.experiment import ConfirmConfig
from nas.garbage_collection import no_collection
from nas.study.home import CONFIRM, SEARCH, StudyHome, find_study
from nas.study.ledger import Ledger
from nas.study.ledger_trial import forget_records, record_of, rung_results, state_of
from nas.study.plugins import require_plugins
from nas.study.retrained_trials import read_retrained
from reports.view import Control, State, StudyView, TrialView
from search_spaces import Architecture, SearchSpace
from search_spaces.errors import InputError
from trials import TrialRecord


def open_study(study: str | Path) -> StudyView:
    """Read a study, also while its search runs; nothing is changed.

    Args:
        study: its folder, or the URL of a database, `#` and its name; the name can be left out where there is only one.

    Raises:
        InputError: there is no such study, it is damaged or cannot be reached, or a plugin that it needs is not loaded.
    """
    return read_view(find_study(study))


def read_view(home: StudyHome) -> StudyView:
    """Read a study. Raises InputError as `open_study` does."""
    with no_collection():
        storage = home.read()
        search = Ledger.load(storage, home.optuna_name(SEARCH))
        try:
            confirm = Ledger.load(storage, home.optuna_name(CONFIRM))
        except InputError:  # its search has only just begun
            confirm = None
        return replace(view_of(home, search, confirm, forget=True), retrained=read_retrained(storage, home))


def view_of(home: StudyHome, search: Ledger, confirm: Ledger | None, *, forget: bool = False) -> StudyView:
    """Return a study as its report sees it.

    Args:
        home: where it is.
        search: its trials.
        confirm: those of its confirmation.
        forget: records are taken out of the ledgers as they are read, of which nothing more is asked then. Of large
            studies both together would be the most memory that a report needs.

    Raises:
        InputError: a plugin that it needs is not loaded.
    """
    facts = search.attributes
    require_plugins(home.shown, facts)
    experiment = facts["experiment"]
    space = SearchSpace.from_dict(experiment["space"], tried=True)
    num_refused = search.counts().refused
    notes, controls = _notes(search, confirm, experiment), _controls(search, confirm, experiment)
    return StudyView(
        name=home.name,
        description=experiment["description"],
        experiment=experiment,
        objectives=search.objectives,
        search=_trials(search, forget=forget),
        confirm=_confirmed(confirm, experiment, forget=forget),
        notes=notes,
        controls=controls,
        num_refused=num_refused,
        command=facts.get("command", f"nas search {home.name}"),
        path=home.shown,
        exhausted=bool(facts.get("exhausted", False)),
        space_size=space.size,
        hosts=tuple(Architecture.of(host, {}) for host in space.hosts),
    )


def _confirmed(ledger: Ledger | None, experiment: dict[str, Any], *, forget: bool) -> tuple[TrialView, ...]:
    """Return the confirmation at the length that the experiment asks for now; empty before it began."""
    epochs = experiment["confirm"]["epochs"]
    trials = _trials(ledger, forget=forget) if ledger else ()
    return tuple(view for view in trials if view.record is None or view.record.epochs == epochs)


def _notes(search: Ledger, confirm: Ledger | None, experiment: dict[str, Any]) -> tuple[str, ...]:
    """Return how the confirmation's race stands, if it is one and has begun."""
    config = ConfirmConfig.model_validate(experiment["confirm"])
    if confirm is None or not config.is_race or not confirm.trials():
        return ()
    try:
        return (race_of(search, confirm, config, experiment["search"]["seed"]).in_words,)
    except InputError:  # a budget that is too small for it
        return ()


def _controls(search: Ledger, confirm: Ledger | None, experiment: dict[str, Any]) -> tuple[Control, ...]:
    """Return what the confirmed architectures are compared with at equal cost; empty before it was chosen."""
    config = ConfirmConfig.model_validate(experiment["confirm"])
    try:
        return lineup_of(search, confirm, config).controls if confirm else ()
    except InputError:  # as above
        return ()


def _trials(ledger: Ledger, *, forget: bool) -> tuple[TrialView, ...]:
    views = []
    for trial in ledger.trials():
        if _has_begun(trial):
            views.append(_trial(ledger, trial))
        if forget:
            forget_records(trial)
    return tuple(views)


def _has_begun(trial: FrozenTrial) -> bool:
    return state_of(trial) not in ("refused", "waiting") or bool(rung_results(trial))


def _trial(ledger: Ledger, trial: FrozenTrial) -> TrialView:
    attrs = trial.user_attrs
    record, state = record_of(trial), state_of(trial)
    ended: dict[str, State] = {"complete": "complete", "stopped": "stopped", "failed": "failed"}
    return TrialView(
        number=trial.number,
        role=attrs["role"] if attrs["label"] else "proposal",
        label=attrs["label"],
        record=record,
        state=ended.get(state, "running"),
        values=ledger.values(record) if record else None,
        finished_at=trial.datetime_complete.isoformat() if trial.datetime_complete else None,
        architecture=ledger.architecture(trial),
        rungs=tuple(TrialRecord.from_dict(data) for data in rung_results(trial).values()),
        spared_at=attrs.get("spared"),
    )
